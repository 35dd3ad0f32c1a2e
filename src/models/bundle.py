"""`Bundle`: everything that a prediction needs, in one immutable file.

The file is a joblib file of plain values and arrays, the pipeline included. It is read as data, and what
makes a bundle unusable here is told before an object of scikit-learn is made. In schema 1 the pipeline is a
pickle, which is read as data too. Schema 3 is a bundle without a model: a strategy that trades as it is.
Schema 4 is a model of the zoo (`tasks.py`): no strategy, no threshold, an answer on every bar. A veto stays
at schema 2, so that a rebuild still gives the SHA-256 that was registered; schemas 1 to 3 are read as vetoes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import ConfigError, DataError, ForeignPickle, NewerSchema, UnfitBundle, WrongSymbol
from lockstep.files import replace_file
from lockstep.models.content import sha256_of, verified_content
from lockstep.models.document import FORMAT, ZOO_SCHEMA, bundle_document, fields_of
from lockstep.models.golden import MOST_GOLDEN, GoldenVectors, golden_vectors
from lockstep.models.libraries import library_versions, require_libraries, require_single_threaded
from lockstep.models.manifest import MODEL_NAME, SYMBOL, VETO
from lockstep.models.nodes import node_of_pickle, pipeline_node, pipeline_of
from lockstep.models.pickle_machine import shown
from lockstep.models.pickling import pickled, unpickled
from lockstep.models.tasks import (
    PROBABILITY,
    STATE,
    TRADED,
    VALUE,
    Output,
    Task,
    label_range,
    require_answering,
    require_question,
)

__all__ = ["SCHEMA", "Bundle", "GoldenVectors", "golden_vectors", "read_bundle", "save_bundle"]

SCHEMA = 2
WITHOUT_MODEL = 3
_PICKLED = 1
_MOST_FEATURES = 1024
_LIBRARY = r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,60}"
_STRATEGY_KEYS = ("family", "config", "config_hash")


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """A strategy with all that its decisions depend on, its veto included; or a model of the zoo alone.

    name           of its slot in the manifest: the versions under one name replace each other in production
    task, output   what the model answers, see `tasks.py`; a veto's are the defaults
    horizon        bars that the labels look ahead, 1 to 250; 0 for a veto
    target         what column 1 of `predict_proba` is the chance of, or what the value is; "" without a model
    pipeline       the whole fitted scikit-learn Pipeline, calibration included; single-threaded. None: there
                   is no model, every entry of the strategy is sent
    feature_ids    in the order of the pipeline's columns, of the strategy's vector without a model;
                   fingerprints: id -> hash of its definition
    strategy       `family`, `config` (as JSON) and `config_hash` of the strategy; {} for a model of the zoo
    threshold      an entry needs at least this probability, 0 to 1; None without a veto
    training       what the fit depended on, by name: hashes of the data, `range` (first and last day, ISO),
                   configuration, seed, versions; `label_range` (smallest and largest label) of a value;
                   nothing that depends on when, where or by whom
    metrics        measures of the model, by name
    golden         vectors, and the model's answers, that must come out again wherever it is used

    The rest is known of a bundle that was loaded, and is not in the file: its SHA-256, its version in the
    store, and the ids whose source has changed since, but not their values.

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import Pipeline
    >>> from lockstep.features import FeatureRegistry
    >>> from lockstep.market import DAILY, SeriesKey
    >>> from lockstep.models import golden_vectors
    >>> from lockstep.strategy.family import strategy_of
    >>> from lockstep.market.loader import load_history
    >>> history = load_history("COMP", start="2018-01-02")
    >>> key, config = SeriesKey("COMP", DAILY), strategy_of({"name": "ibs"}, where="example")
    >>> model = Pipeline([("model", LogisticRegression())]).fit([[0.1], [0.9]], [1, 0])
    >>> stamps = history.series(key).end[-3:]
    >>> bundle = Bundle(
    ...     symbol="COMP", pipeline=model, feature_ids=("ibs",), threshold=0.5, training={}, metrics={},
    ...     fingerprints={"ibs": FeatureRegistry().fingerprint("ibs")},
    ...     strategy={"family": "ibs", "config": config.model_dump(mode="json"), "config_hash": ""},
    ...     golden=golden_vectors(history, key, ["ibs"], model, stamps, config.max_age.limits))
    >>> bundle.pipeline.predict_proba(bundle.golden.vectors).shape
    (3, 2)
    """

    schema: int = SCHEMA
    symbol: str
    name: str = VETO
    task: Task = TRADED
    output: Output = PROBABILITY
    horizon: int = 0
    target: str = "trade_wins"
    pipeline: Any | None
    feature_ids: tuple[str, ...]
    fingerprints: Mapping[str, str]
    strategy: Mapping[str, Any]
    threshold: float | None
    training: Mapping[str, Any]
    metrics: Mapping[str, float]
    golden: GoldenVectors
    sha256: str = ""
    version: str = ""
    changed_features: tuple[str, ...] = ()

    @property
    def has_model(self) -> bool:
        """Whether there is a model: one that decides which entries are sent, or one of the zoo."""
        return self.pipeline is not None

    @property
    def of_zoo(self) -> bool:
        """Whether it is a model of the zoo: a column of specs, and no strategy."""
        return self.task != TRADED

    @property
    def needs_certificate(self) -> bool:
        """Whether the source of a feature has changed: trade it after a fresh parity certificate only."""
        return bool(self.changed_features)

    def _repr_html_(self) -> str:
        from lockstep import views

        return views.bundle(self)


def save_bundle(bundle: Bundle, path: Path) -> str:
    """Write the bundle and return its SHA-256 (hex); the same content gives the same bytes.

    UnfitBundle where it may not be used as it is, StoreFailure where the disk refuses: `path` is as it was.
    """
    content = bundle_bytes(bundle)
    replace_file(path, content)
    return sha256_of(content)


def bundle_bytes(bundle: Bundle) -> bytes:
    """Return the content of the bundle's file; UnfitBundle where it may not be used as it is."""
    _require_fit(bundle)
    libraries = library_versions(bundle.pipeline)
    if not bundle.has_model:
        return pickled(bundle_document(bundle, WITHOUT_MODEL, None, libraries))
    node = pipeline_node(bundle.pipeline)
    # A pipeline that could not be read again is better refused today.
    pipeline_of(node, f"pipeline of {bundle.symbol}")
    schema = ZOO_SCHEMA if bundle.of_zoo else SCHEMA
    return pickled(bundle_document(bundle, schema, node, libraries))


def read_bundle(
    path: Path, *, expected_sha256: str | None, symbol: str | None = None, expected_size: int | None = None
) -> Bundle:
    """Read a bundle; everything that does not depend on this checkout's features is checked.

    In this order: a file, no Git LFS pointer, its size, its SHA-256, a bundle of a schema that is known, its
    symbol, the libraries; then the pipeline is read. `expected_sha256=None` is for a file that this process
    has written itself.

    Raises: a BundleRefused that says what to do.
    """
    content = verified_content(path, expected_sha256=expected_sha256, expected_size=expected_size)
    return bundle_of(content, path.name, symbol=symbol)


def bundle_of(content: bytes, what: str, *, symbol: str | None = None) -> Bundle:
    """Return the bundle in the bytes of its file; a BundleRefused where it cannot be used here."""
    document = unpickled(content, what)
    _require_readable(document, what, symbol)
    require_libraries(document["libraries"], what)
    try:
        found = Bundle(**fields_of(document), pipeline=_pipeline(document, what), sha256=sha256_of(content))
        _require_fit(found)
    except KeyError as error:
        raise ForeignPickle(f"{what}: not a Lockstep bundle: {error} is missing") from error
    except (AttributeError, LookupError, TypeError, ValueError, DataError, ConfigError, UnfitBundle) as error:
        reason = " ".join(str(error).split())[:300]
        raise ForeignPickle(
            f"{what}: not a Lockstep bundle: {reason}; train the model with Lockstep"
        ) from error
    return found


def _pipeline(document: Mapping[str, Any], what: str) -> Any:
    node, schema = document["pipeline"], document["schema"]
    if (node is None) != (schema == WITHOUT_MODEL):
        raise ValueError(f"schema {schema} {'without' if node is None else 'with'} a pipeline")
    if schema == ZOO_SCHEMA and document["task"] == TRADED:
        raise ValueError(f"schema {schema} of task {TRADED}")
    if node is None:
        return None
    return pipeline_of(node_of_pickle(node, what) if schema == _PICKLED else node, what)


def _require_readable(document: Any, what: str, symbol: str | None) -> None:
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        raise ForeignPickle(f"{what}: not a Lockstep bundle; train the model with Lockstep")
    schema, libraries = document.get("schema"), document.get("libraries")
    if type(schema) is not int or schema < 1:
        raise ForeignPickle(f"{what}: not a Lockstep bundle: schema {shown(schema)}; train the model again")
    if schema > ZOO_SCHEMA:
        raise NewerSchema(
            f"{what}: bundle schema {schema}, this Lockstep reads up to {ZOO_SCHEMA}; update Lockstep"
        )
    if symbol is not None and document.get("symbol") != symbol:
        raise WrongSymbol(
            f"{what}: a bundle for {shown(document.get('symbol'))}, not for {symbol}; fetch the right one"
        )
    named = isinstance(libraries, Mapping) and all(
        type(each) is str and re.fullmatch(_LIBRARY, each) for each in (*libraries, *libraries.values())
    )
    if not named:
        raise ForeignPickle(f"{what}: not a Lockstep bundle: it does not name its libraries; train it again")


def _require_fit(bundle: Bundle) -> None:
    what = f"bundle of {bundle.symbol}"
    if bundle.has_model:
        require_single_threaded(bundle.pipeline)
    for part, pattern in (("symbol", SYMBOL), ("name", MODEL_NAME)):
        if not re.fullmatch(pattern, getattr(bundle, part)):
            raise UnfitBundle(f"{what}: {part} {getattr(bundle, part)!r}: must match {pattern}")
    require_question(bundle.task, bundle.output, bundle.horizon, what)
    if set(bundle.fingerprints) != set(bundle.feature_ids) or not bundle.feature_ids:
        raise UnfitBundle(f"{what}: fingerprints must be those of the {len(bundle.feature_ids)} feature ids")
    if bundle.of_zoo:
        _require_model_of_zoo(bundle, what)
    else:
        _require_strategy(bundle, what)
    if len(bundle.feature_ids) > _MOST_FEATURES or len(bundle.golden.stamps) > MOST_GOLDEN:
        raise UnfitBundle(f"{what}: at most {_MOST_FEATURES} features and {MOST_GOLDEN} golden vectors")
    if bundle.golden.vectors.shape[1] != len(bundle.feature_ids):
        raise UnfitBundle(
            f"{what}: golden vectors of {bundle.golden.vectors.shape[1]} columns; record them again"
        )


def _require_model_of_zoo(bundle: Bundle, what: str) -> None:
    """Raise UnfitBundle where a model of the zoo has a part of a strategy, or is not what it says."""
    if not bundle.has_model:
        raise UnfitBundle(f"{what}: task {bundle.task} without a pipeline; give the fitted model")
    if bundle.strategy or bundle.threshold is not None:
        raise UnfitBundle(
            f"{what}: task {bundle.task} with a strategy or a threshold: a model of the zoo belongs to no "
            "strategy; leave both out"
        )
    if bundle.name == VETO or not bundle.target:
        raise UnfitBundle(
            f"{what}: name {bundle.name!r} and target {bundle.target!r}: name the model after what it is "
            "asked, such as volatility_h1, and say what it answers"
        )
    require_answering(bundle.pipeline, bundle.output, what)
    if bundle.output == VALUE:
        label_range(bundle.training, what)
    _require_answers(bundle, what)
    told = bundle.golden.answers
    fits = np.isfinite(told) if bundle.output == VALUE else (told >= 0.0) & (told <= 1.0)
    if bundle.output == STATE:
        fits = (told == 0.0) | (told == 1.0)
    if not fits.all():
        raise UnfitBundle(f"{what}: golden answer {told[~fits][0]} is no {bundle.output}; record them again")


def _require_answers(bundle: Bundle, what: str) -> None:
    answers = bundle.golden.answers.size
    if answers != len(bundle.golden.stamps):
        raise UnfitBundle(
            f"{what}: {answers} answers of {len(bundle.golden.stamps)} golden vectors; record them again"
        )


def _require_strategy(bundle: Bundle, what: str) -> None:
    """Raise UnfitBundle where there is no strategy, or a part of a model while another is missing."""
    if missing := [key for key in _STRATEGY_KEYS if key not in bundle.strategy]:
        raise UnfitBundle(
            f"{what}: strategy has no {', '.join(missing)}; give family, config and config_hash"
        )
    threshold, answers = bundle.threshold, bundle.golden.answers.size
    if bundle.has_model:
        if threshold is None or not 0.0 <= threshold <= 1.0:
            raise UnfitBundle(f"{what}: threshold {threshold}: must be a probability, 0 to 1")
        _require_answers(bundle, what)
    elif threshold is not None or bundle.target or answers:
        raise UnfitBundle(
            f"{what}: threshold {threshold}, target {bundle.target!r} and {answers} golden answers, "
            "but no pipeline to give one; leave them out, or give the pipeline"
        )
