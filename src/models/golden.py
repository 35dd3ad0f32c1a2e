"""Golden vectors: a few bars, and the vectors (and a model's answers) that must come out of them.

The bars are an excerpt of the training history with just the windows that the vectors need. A bundle is
used only where its golden vectors come out as recorded: bit for bit where processor and libraries are the
same, within 1e-12 elsewhere, since vector units round `log` and `exp` differently.

The part of a history that the vectors at a few stamps depend on.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from numpy.typing import NDArray

from lockstep.errors import GoldenMismatch, LockstepError, UnfitBundle
from lockstep.features.batch import BatchFeatures
from lockstep.features.canonical import canonical_values
from lockstep.features.columns import pair_key, source_keys
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.features.plan import FeaturePlan
from lockstep.market.asof import MaxAge
from lockstep.market.bars import Bars, Floats, Stamps
from lockstep.market.history import History, Market, SeriesKey
from lockstep.models.libraries import library_versions
from lockstep.models.predictor import answers, predictor
from lockstep.models.tasks import PROBABILITY, Output

Rows = NDArray[np.int64]


def excerpt(history: History, plan: FeaturePlan, stamps: Stamps) -> History:
    """Return the bars of every window of `plan` at `stamps` (int64 (m,), ends of base bars, UTC ns).

    At these stamps, and only there, features over the excerpt have the bits of features over the whole
    history: what stands before a bar in its window stands before it here too.
    """
    rows = {key: _windows(history.series(key), stamps, plan.lookback(key)) for key in plan.keys}
    for key in plan.pair_keys:
        pair = pair_key(history.markets, key)
        joined = _as_of(history.series(pair), history.series(key).end[rows[key]])
        rows[pair] = np.union1d(rows.get(pair, joined), joined)
    keys = source_keys(plan, history.markets)
    bars = {key: _chosen(history.series(key), rows[key]) for key in keys}
    return History(bars=bars, markets=_markets(history, keys))


def _markets(history: History, keys: tuple[SeriesKey, ...]) -> dict[str, Market]:
    return {key.symbol: history.markets[key.symbol] for key in keys if key.symbol in history.markets}


def _as_of(bars: Bars, stamps: Stamps) -> Rows:
    """Return the row of the last bar at or before each stamp, however old, where there is one."""
    rows = np.searchsorted(bars.end, stamps, side="right").astype(np.int64) - 1
    return np.unique(rows[rows >= 0])


def _windows(bars: Bars, stamps: Stamps, lookback: int) -> Rows:
    last = _as_of(bars, stamps)
    rows = last[:, None] - np.arange(lookback)
    return np.unique(rows[rows >= 0])


def _chosen(bars: Bars, rows: Rows) -> Bars:
    columns: dict[str, Any] = {name: values[rows] for name, values in bars.columns().items()}
    return replace(bars, end=bars.end[rows], source="golden vectors", **columns)


TOLERANCE = 1e-12
MOST_GOLDEN = 1024
# What scikit-learn and numpy raise where a pipeline's parts do not fit together, or bars no feature.
_UNFIT = (LockstepError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, kw_only=True, eq=False)
class GoldenVectors:
    """Recorded vectors and probabilities that every load must reproduce: m rows of k features.

    base, max_age   the traded series, and the maximum age of other series' values
    history         bars of every series of the plan, only those that the vectors depend on
    stamps          int64 (m,): ends of base bars, UTC ns, rising
    vectors         float64 (m, k), no NaN
    answers         float64 (m,): what the model answers, one row at a time as live asks: column 1 of
                    scikit-learn's `predict_proba`, a state, or a value, which is not clipped here; (0,) where
                    there is no model
    canonical       id -> float64 (256,): values on the canonical bars
    arithmetic      processor and libraries; an equal text promises equal bits

    >>> import numpy as np
    >>> from sklearn.pipeline import Pipeline
    >>> from sklearn.linear_model import LogisticRegression
    >>> from lockstep.market import DAILY, SeriesKey
    >>> from lockstep.market.asof import MaxAge
    >>> from lockstep.models import golden_vectors
    >>> from lockstep.market.loader import load_history
    >>> key = SeriesKey("COMP", DAILY)
    >>> history = load_history("COMP", start="2018-01-02")
    >>> model = Pipeline([("model", LogisticRegression())]).fit([[0.1], [0.9]], [1, 0])
    >>> golden = golden_vectors(history, key, ["ibs"], model, history.series(key).end[-3:], MaxAge())
    >>> golden.vectors.shape, bool(np.all(golden.answers < 1))
    ((3, 1), True)
    """

    base: SeriesKey
    max_age: MaxAge
    history: History
    stamps: Stamps
    vectors: Floats
    answers: Floats
    canonical: Mapping[str, Floats]
    arithmetic: str


def golden_vectors(
    history: History,
    base: SeriesKey,
    feature_ids: Sequence[str],
    pipeline: Any,
    stamps: Sequence[int] | Stamps,
    max_age: MaxAge,
    *,
    output: Output = PROBABILITY,
    registry: FeatureRegistry | None = None,
) -> GoldenVectors:
    """Record the vectors at `stamps` (ends of base bars, UTC ns; a dozen is plenty) and what is predicted.

    pipeline   the fitted model; None: there is none, and the vectors are all there is to record
    output     which answer of it: a probability, a value or a state, see `tasks.py`

    UnfitBundle where there is no stamp, or a vector has a missing value.
    """
    registry = registry or default_registry()
    chosen = np.unique(np.asarray(stamps, dtype=np.int64))
    if chosen.size == 0:
        raise UnfitBundle(f"golden vectors of {base}: no stamp; give at least one decision")
    plan = registry.plan(feature_ids, base)
    small = excerpt(history, plan, chosen)
    vectors = _vectors(small, base, feature_ids, chosen, max_age, registry)
    whole = _vectors(history, base, feature_ids, chosen, max_age, registry)
    if not np.isfinite(whole).all():
        raise UnfitBundle(f"golden vectors of {base}: a value is missing; choose stamps of complete vectors")
    if vectors.tobytes() != whole.tobytes():
        raise UnfitBundle(f"golden vectors of {base}: a feature depends on bars outside its window")
    return GoldenVectors(
        base=base,
        max_age=max_age,
        history=small,
        stamps=chosen,
        vectors=vectors,
        answers=np.empty(0) if pipeline is None else _answers(pipeline, output, vectors),
        canonical={each: canonical_values(each, registry) for each in feature_ids},
        arithmetic=arithmetic(pipeline),
    )


def verify_golden(
    golden: GoldenVectors,
    feature_ids: Sequence[str],
    pipeline: Any,
    *,
    output: Output = PROBABILITY,
    registry: FeatureRegistry | None = None,
) -> None:
    """Raise GoldenMismatch, naming the feature and the bar, where a recorded value does not come out.

    The model is asked the way live asks it: the compiled forest is held against scikit-learn here.
    """
    exact = golden.arithmetic == arithmetic(pipeline)
    known, base, age = registry or default_registry(), golden.base, golden.max_age
    try:
        vectors = _vectors(golden.history, base, feature_ids, golden.stamps, age, known)
    except _UNFIT as error:
        raise GoldenMismatch(
            f"golden vectors of {golden.base}: {_reason(error)}; rebuild the model"
        ) from error
    for column, feature_id in enumerate(feature_ids):
        _require_equal(feature_id, golden.vectors[:, column], vectors[:, column], golden.stamps, exact)
    if pipeline is None:
        return
    try:
        found = _answers(predictor(pipeline), output, golden.vectors)
    except _UNFIT as error:
        raise GoldenMismatch(
            f"golden vectors of {golden.base}: the model has no answer: {_reason(error)}; rebuild the model"
        ) from error
    _require_equal(f"the {output}", golden.answers, found, golden.stamps, exact)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def same_values(one: Floats, other: Floats, *, exact: bool) -> bool:
    """Whether two columns are equal bit for bit, or within 1e-12 of the larger of 1 and the value."""
    if one.shape != other.shape:
        return False
    return bool(_equal(one, other, exact).all())


def arithmetic(pipeline: Any) -> str:
    """Return a name of everything that rounding depends on: processor, compilers, libraries."""
    parts = (
        platform.machine(),
        llvmlite.binding.get_host_cpu_name(),
        llvmlite.binding.get_host_cpu_features().flatten(),
        numba.__version__,
        llvmlite.__version__,
        *(f"{name} {version}" for name, version in library_versions(pipeline).items()),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _vectors(
    history: History,
    base: SeriesKey,
    feature_ids: Sequence[str],
    stamps: Stamps,
    max_age: MaxAge,
    registry: FeatureRegistry,
) -> Floats:
    batch = BatchFeatures(registry.plan(feature_ids, base), history, max_age=max_age)
    return np.ascontiguousarray(batch.matrix[[batch.row(int(stamp)) for stamp in stamps]])


def _answers(model: Any, output: Output, vectors: Floats) -> Floats:
    return np.array([answers(model, output, row.reshape(1, -1))[0] for row in vectors], dtype=np.float64)


def _equal(one: Floats, other: Floats, exact: bool) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if exact:
        return np.asarray(one.view(np.int64) == other.view(np.int64)) | (np.isnan(one) & np.isnan(other))
    near = np.isclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    return np.asarray(near)


def _require_equal(what: str, recorded: Floats, found: Floats, stamps: Stamps, exact: bool) -> None:
    recorded, found = np.ascontiguousarray(recorded), np.ascontiguousarray(found)
    differs = ~_equal(recorded, found, exact)
    if differs.any():
        row = int(differs.argmax())
        raise GoldenMismatch(
            f"golden vectors: {what} at {np.datetime64(int(stamps[row]), 'ns').astype('M8[s]')}Z is "
            f"{float(found[row])!r}, recorded {float(recorded[row])!r}; use the code and libraries that "
            "trained it, or rebuild the model"
        )
