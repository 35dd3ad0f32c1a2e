"""`BatchFeatures`: all vectors of a history at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from lockstep.errors import FeatureError
from lockstep.features.as_of import spans
from lockstep.features.columns import moving_columns, seen_columns, series_columns
from lockstep.features.driver import drive_modifiers, driver
from lockstep.features.feature_id import Term
from lockstep.features.lanes import batch_driver
from lockstep.features.plan import COLD, MISSING, FeaturePlan
from lockstep.market.asof import MaxAge, asof_rows
from lockstep.market.bars import Floats, Stamps
from lockstep.market.history import History, SeriesKey

# A stretch of bars that is worth a thread's while, and whose values stay in its cache.
_STRETCH = 1 << 15

_Piece = Callable[[int, int], None]
_ForEach = Callable[[int, _Piece], None]


def _at_once(n: int, piece: _Piece) -> None:
    piece(0, n)


@contextmanager
def _threads(n: int) -> Iterator[_ForEach]:
    """Yield what carries out a piece of work for n bars, stretch by stretch, on all cores where that pays.

    A value depends on the bars of its window alone: where a stretch begins changes nothing.
    """
    if n < 4 * _STRETCH:
        yield _at_once
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def each(size: int, piece: _Piece) -> None:
            starts = range(0, size, _STRETCH)
            for done in [pool.submit(piece, start, min(start + _STRETCH, size)) for start in starts]:
                done.result()

        yield each


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
        terms = np.empty((self.end.size, len(plan.terms)))
        with _threads(self.end.size) as each:
            for key in plan.keys:
                self._fill(terms, key, history, each)
        # Where each id is one term there is nothing to multiply, and no need of a copy.
        is_plain = plan.ids == tuple(map(str, plan.terms))
        self.matrix: Floats = terms if is_plain else plan.multiply(terms)
        self.matrix.setflags(write=False)
        self._cursor = -1

    def _fill(self, terms: Floats, key: SeriesKey, history: History, each: _ForEach) -> None:
        names = self.plan.inputs(key)
        columns = series_columns(history, key, names, self._max_age)
        moving = moving_columns(history, key, names, self._max_age)
        n = self._source_ends[key].size
        rows = None if key == self.plan.base else self._join(key)
        if not moving:
            for position, values in self._values(key, columns, n, each):
                each(self.end.size, _put(terms[:, position], values, rows))
            return
        joined = {each: np.empty(n) for found in self.plan.positions(key).values() for each in found}
        for first, start, stop in spans(moving, n, self.plan.lookback(key)):
            seen = seen_columns(columns, moving, first, stop)
            for position, values in self._values(key, seen, stop - first, _at_once):
                joined[position][start:stop] = values[start - first :]
        for position, values in joined.items():
            _put(terms[:, position], values, rows)(0, self.end.size)

    def _values(
        self, key: SeriesKey, columns: dict[str, Floats], n: int, each: _ForEach
    ) -> Iterator[tuple[int, Floats]]:
        """Yield the terms on `key` by position: float64 (n,) from columns of n rows."""
        for plain, positions in self.plan.positions(key).items():
            values = plain_values(plain, columns, n, each)
            for position in positions:
                yield position, modified_values(self.plan.terms[position], values, each)

    def _join(self, key: SeriesKey) -> Stamps:
        age = self._max_age.nanoseconds(key.timeframe)
        return asof_rows(self.end, self._source_ends[key], age)

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


def plain_values(term: Term, columns: dict[str, Floats], n: int, each: _ForEach = _at_once) -> Floats:
    """Return a term without modifiers on its own series: float64 (n,), NaN while the window is not full."""
    values = np.empty(n)
    drive = batch_driver(term.feature) if n >= _STRETCH else driver(term.feature)
    lookback = term.lookback
    inputs = [columns[name] for name in term.feature.inputs]
    arguments = term.feature.arguments(term.parameters)
    each(n, lambda start, stop: drive(*inputs, *arguments, lookback, start, stop, values, start))
    values.setflags(write=False)
    return values


def modified_values(term: Term, values: Floats, each: _ForEach = _at_once) -> Floats:
    """Return the term, float64 (n,), from the `values` of its feature: their rank and lag, if it has any."""
    if term == term.plain:
        return values
    modified = np.empty(values.size)
    rank, lag = term.rank, term.lag
    each(
        values.size,
        lambda start, stop: drive_modifiers(values, rank, lag, start, stop, modified, start),
    )
    return modified


def _put(column: Floats, values: Floats, rows: Stamps | None) -> _Piece:
    """Return what writes stretches of `values` into a column, those of its `rows` where it has others."""
    if rows is None:

        def put(start: int, stop: int) -> None:
            column[start:stop] = values[start:stop]

        return put
    known = np.append(values, np.nan)

    def join(start: int, stop: int) -> None:
        # Row -1, before the first bar and beyond the age that is allowed, is the last one: NaN.
        column[start:stop] = known[rows[start:stop]]

    return join
