"""`BatchFeatures`: all vectors of a history at once."""

from __future__ import annotations

import numpy as np

from lockstep.errors import FeatureError
from lockstep.features.columns import series_columns
from lockstep.features.driver import drive_modifiers, driver
from lockstep.features.feature_id import Term
from lockstep.features.plan import COLD, MISSING, FeaturePlan
from lockstep.market.asof import MaxAge, asof_rows
from lockstep.market.bars import Floats, Stamps
from lockstep.market.history import History, SeriesKey


class BatchFeatures:
    """Computes the vectors of `plan` over a whole history at once.

    end      int64 (n,): ends of the base bars
    matrix   float64 (n, ids), read-only: row i is the vector at end[i]

    >>> from lockstep.features import FeatureRegistry
    >>> from lockstep.market import DAILY, SeriesKey
    >>> from lockstep.market.loader import load_history
    >>> key = SeriesKey("COMP", DAILY)
    >>> history = load_history("COMP", start="2018-01-02")
    >>> batch = BatchFeatures(FeatureRegistry().plan(["ibs", "rsi_2"], key), history)
    >>> batch.matrix.shape
    (251, 2)
    """

    def __init__(self, plan: FeaturePlan, history: History, *, max_age: MaxAge | None = None) -> None:
        self.plan = plan
        self.end = history.series(plan.base).end
        self._max_age = max_age or MaxAge()
        self._source_ends = {key: history.series(key).end for key in plan.keys}
        self._rows = {
            key: np.arange(self.end.size) if key == plan.base else self._join(key) for key in plan.keys
        }
        terms = np.empty((self.end.size, len(plan.terms)))
        for key in plan.keys:
            self._fill(terms, key, history)
        self.matrix: Floats = plan.multiply(terms)
        self.matrix.setflags(write=False)
        self._cursor = -1

    def _join(self, key: SeriesKey) -> Stamps:
        age = self._max_age.nanoseconds(key.timeframe)
        return asof_rows(self.end, self._source_ends[key], age)

    def _fill(self, terms: Floats, key: SeriesKey, history: History) -> None:
        columns = series_columns(history, key, self.plan.inputs(key), self._max_age)
        rows = self._rows[key]
        for plain, positions in self.plan.positions(key).items():
            values = plain_values(plain, columns, self._source_ends[key].size)
            for position in positions:
                modified = modified_values(self.plan.terms[position], values)
                terms[:, position] = np.where(rows >= 0, np.append(modified, np.nan)[rows], np.nan)

    def row(self, stamp: int) -> int:
        """Return the row of the base bar that ended at `stamp`; FeatureError where there is none."""
        following = self._cursor + 1
        if following < self.end.size and self.end[following] == stamp:
            self._cursor = following
            return following
        found = int(np.searchsorted(self.end, stamp))
        if found == self.end.size or self.end[found] != stamp:
            raise FeatureError(f"no bar of {self.plan.base} ended at {np.datetime64(stamp, 'ns')}")
        self._cursor = found
        return found

    def vector(self, stamp: int) -> Floats:
        """Return the vector at `stamp`; see `FeatureSource`."""
        vector: Floats = self.matrix[self.row(stamp)]
        return vector

    def absence(self, column: int, stamp: int) -> str:
        """Return why a value is NaN; see `FeatureSource`."""
        row = self.row(stamp)
        cold = (self._is_cold(position, row) for position in self.plan.factors[column])
        return COLD if any(cold) else MISSING

    def _is_cold(self, position: int, row: int) -> bool:
        key = self.plan.series(position)
        seen = np.searchsorted(self._source_ends[key], self.end[row], side="right")
        return bool(seen < self.plan.terms[position].lookback)


def plain_values(term: Term, columns: dict[str, Floats], n: int) -> Floats:
    """Return a term without modifiers on its own series: float64 (n,), NaN while the window is not full."""
    values = np.empty(n)
    inputs = (columns[name] for name in term.feature.inputs)
    driver(term.feature)(*inputs, *term.feature.arguments(term.parameters), term.lookback, 0, n, values, 0)
    values.setflags(write=False)
    return values


def modified_values(term: Term, values: Floats) -> Floats:
    """Return the term, float64 (n,), from the `values` of its feature: their rank and lag, if it has any."""
    if term == term.plain:
        return values
    modified = np.empty(values.size)
    drive_modifiers(values, term.rank, term.lag, 0, values.size, modified, 0)
    return modified
