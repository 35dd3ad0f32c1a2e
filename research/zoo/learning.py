"""The bars that a model of the zoo may learn from: features and labels on each of them, and nothing later.

The history is cut at the last bar before anything is computed, so that no label and no feature of these rows
can depend on a bar that is not among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import TrainingError
from lockstep.features.batch import BatchFeatures
from lockstep.features.derived import is_derived
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.features.invariance import shift_sensitive
from lockstep.market.asof import MaxAge
from lockstep.market.bars import Bars, Floats
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.sessions import Dates
from research.training.dataset import adjustment_of
from research.zoo.labels import BarLabels, labels
from research.zoo.model_spec import ModelSpec, Task

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledBars:
    """What a spec learns from, n rows.

    row        int64 (n,), rising: positions of the bars
    features   float64 (n, k), no NaN; taught, judged: float64 (n,), see `BarLabels`; taught may be NaN
    left_out   bars whose features or usual label are missing
    """

    row: Rows
    features: Floats
    taught: Floats
    judged: Floats
    left_out: int


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningBars:
    """Bars of one series, first to last, with the features and labels on them.

    first   position of the first bar that is learned from; those before it fill windows
    """

    history: History
    key: SeriesKey
    first: int = 0
    registry: FeatureRegistry = field(default_factory=default_registry)
    _columns: dict[str, Floats] = field(default_factory=dict, repr=False)
    _labels: dict[tuple[Task, int, str], BarLabels] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        history: History,
        key: SeriesKey,
        dates: DateRange | None = None,
        *,
        registry: FeatureRegistry | None = None,
    ) -> Self:
        """Return the bars of some session dates (None: all); bars after them are not in it. NoBars without.

        >>> from lockstep.market import DAILY
        >>> from lockstep.market.loader import load_history
        >>> key = SeriesKey("COMP", DAILY)
        >>> bars = LearningBars.of(load_history("COMP"), key, DateRange.of(end="2010-12-31"))
        >>> bars.dates.end.isoformat()
        '2010-12-31'
        """
        rows = (dates or DateRange()).select(history.series(key), history.markets[key.symbol])
        return cls(
            history=cut_at(history, key, rows.stop),
            key=key,
            first=rows.start,
            registry=registry or default_registry(),
        )

    def until(self, stop: int) -> Self:
        """Return the bars before position `stop`."""
        return replace(self, history=cut_at(self.history, self.key, stop), _columns={}, _labels={})

    @property
    def bars(self) -> Bars:
        """The bars of the series, those that only fill windows too."""
        return self.history.series(self.key)

    @property
    def size(self) -> int:
        """How many bars there are; positions are below it."""
        return len(self.bars.end)

    @cached_property
    def sessions(self) -> Dates:
        """The session date of each bar, datetime64[D]."""
        return self.history.markets[self.key.symbol].session.dates(self.bars.end, self.bars.timeframe)

    @property
    def dates(self) -> DateRange:
        """Session dates of the first and the last bar that are learned from."""
        first, last = self.sessions[[self.first, -1]].astype("datetime64[D]").tolist()
        return DateRange(start=first, end=last)

    def matrix(self, ids: Sequence[str]) -> Floats:
        """Return features on all bars, float64 (size, k), NaN where missing.

        TrainingError for the column of another model, or what moves with the rolls of difference-adjusted
        bars.
        """
        missing = [each for each in dict.fromkeys(ids) if each not in self._columns]
        if missing:
            self._require_plain(missing)
            plan = self.registry.plan(missing, self.key)
            found = BatchFeatures(plan, self.history, max_age=MaxAge()).matrix
            self._columns.update(zip(missing, found.T, strict=True))
        return np.column_stack([self._columns[each] for each in ids])

    def _require_plain(self, ids: Sequence[str]) -> None:
        what = f"{self.key.symbol}: a model of the zoo"
        if derived := [each for each in ids if is_derived(each)]:
            raise TrainingError(f"{what} reads {derived[0]}: it reads features only; leave models out")
        if adjustment_of(self.history, self.key) != "difference":
            return
        if moving := shift_sensitive(ids, self.registry):
            raise TrainingError(
                f"{what} reads {moving[0]}: it changes with every roll of bars that are adjusted by "
                "differences; leave it out, or give bars adjusted by ratios"
            )

    def labels(self, spec: ModelSpec) -> BarLabels:
        """Return the labels of a spec on all bars, NaN where there is none."""
        key = (spec.task, spec.horizon, spec.label)
        if key not in self._labels:
            self._labels[key] = labels(self.bars, *key)
        return self._labels[key]

    def samples(self, spec: ModelSpec) -> LabelledBars:
        """Return the rows that a spec can learn from; TrainingError where there are too few."""
        found, features = self.labels(spec), self.matrix(sorted(spec.features))
        whole = np.isfinite(features).all(axis=1) & np.isfinite(found.judged)
        row = np.flatnonzero(whole[self.first :]) + self.first
        return LabelledBars(
            row=row,
            features=np.ascontiguousarray(features[row]),
            taught=found.taught[row],
            judged=found.judged[row],
            left_out=self.size - self.first - row.size,
        )


def cut_at(history: History, key: SeriesKey, stop: int) -> History:
    """Return a history whose series all end with the bar before position `stop` of a series, or earlier.

    They are copies: what is cut off cannot be reached from them.
    """
    last = history.series(key).end[stop - 1]
    return History(
        bars={each: _copied(found, last) for each, found in history.bars.items()}, markets=history.markets
    )


def _copied(bars: Bars, last: int) -> Bars:
    kept = bars.rows(0, int(np.searchsorted(bars.end, last, side="right")))
    columns: dict[str, Any] = {name: values.copy() for name, values in kept.columns().items()}
    return replace(kept, end=kept.end.copy(), **columns)
