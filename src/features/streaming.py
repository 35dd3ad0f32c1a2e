"""`WindowFeatures`: the newest vector from ring buffers, by the same drivers that batch uses."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

import numpy as np

from lockstep.errors import FeatureError
from lockstep.features.columns import market_of, pair_key, source_keys
from lockstep.features.driver import driver
from lockstep.features.inputs import PAIR_COLUMNS
from lockstep.features.plan import FeaturePlan, needs_calendar, needs_pair
from lockstep.features.source import COLD, MISSING
from lockstep.market.asof import MaxAge
from lockstep.market.bars import BAR_COLUMNS, Floats
from lockstep.market.history import BarSet, Market, SeriesKey
from lockstep.market.sessions import CALENDAR_COLUMNS

_NO_PAIR = (math.nan,) * len(PAIR_COLUMNS)
_NEVER = -(2**62)
_REMEMBERED = 500


class WindowFeatures:
    """The vectors of `plan`, one bar set at a time.

    `push` takes all bars that completed at one stamp; `vector(stamp)` then gives the same bits that
    `BatchFeatures` gives for that stamp.
    """

    def __init__(
        self, plan: FeaturePlan, markets: Mapping[str, Market], *, max_age: MaxAge | None = None
    ) -> None:
        self.plan = plan
        self._max_age = max_age or MaxAge()
        self._windows = {key: _SeriesWindow(plan, key, markets) for key in plan.keys}
        self._pairs = {key: pair_key(markets, key) for key in plan.pair_keys}
        self._keys = source_keys(plan, markets)
        self._newest: dict[SeriesKey, int] = {}
        # A bar that comes late is paired with what its pair was then, not with what it became.
        self._recent: dict[SeriesKey, deque[tuple[int, tuple[float, ...]]]] = {
            pair: deque(maxlen=_REMEMBERED) for pair in self._pairs.values()
        }
        self._terms = np.full(len(plan.terms), np.nan)
        self._vector = np.full(len(plan.ids), np.nan)

    @property
    def keys(self) -> tuple[SeriesKey, ...]:
        """Every series whose bars must be pushed, sorted."""
        return self._keys

    def push(self, bar_set: BarSet) -> None:
        """Take the bars that completed at `bar_set.stamp`; FeatureError on a stamp that is not later."""
        for key, values in bar_set.bars.items():
            before = self._newest.get(key, _NEVER)
            if before >= bar_set.stamp:
                raise FeatureError(f"bars of {key}: stamp {bar_set.stamp} does not follow {before}")
            self._newest[key] = bar_set.stamp
            if key in self._recent:
                self._recent[key].append((bar_set.stamp, values))
        for key, values in bar_set.bars.items():
            if key in self._windows:
                pair = self._pair_values(key, bar_set.stamp)
                self._windows[key].append(bar_set.stamp, values, pair, self._terms)
        if self.plan.base in bar_set.bars:
            self._freeze(bar_set.stamp)

    def _pair_values(self, key: SeriesKey, stamp: int) -> tuple[float, ...]:
        if key not in self._pairs:
            return ()
        for end, values in reversed(self._recent[self._pairs[key]]):
            if end <= stamp:
                return values if stamp - end <= self._max_age.nanoseconds(key.timeframe) else _NO_PAIR
        return _NO_PAIR

    def _freeze(self, stamp: int) -> None:
        """Join the terms as of `stamp` into a vector that nothing changes afterwards."""
        terms = self._terms
        stale = [
            position
            for key, window in self._windows.items()
            if key != self.plan.base and stamp - window.end > self._max_age.nanoseconds(key.timeframe)
            for position in window.positions
        ]
        if stale:
            terms = terms.copy()
            terms[stale] = np.nan
        self._vector = self.plan.multiply(terms)
        self._vector.setflags(write=False)

    def vector(self, stamp: int) -> Floats:
        """Return the vector of the newest base bar; see `FeatureSource`."""
        newest = self._windows[self.plan.base].end
        if stamp != newest:
            raise FeatureError(f"vector of {self.plan.base} at {stamp}: the newest bar ended at {newest}")
        return self._vector

    def absence(self, column: int, stamp: int) -> str:
        """Return why a value is NaN; see `FeatureSource`."""
        for position in self.plan.factors[column]:
            window = self._windows[self.plan.series(position)]
            if window.seen < self.plan.terms[position].lookback:
                return COLD
        return MISSING

    def filling(self) -> dict[str, tuple[int, int]]:
        """Return, per term whose window is not full, (bars seen, bars needed)."""
        return {
            str(term): (seen, term.lookback)
            for position, term in enumerate(self.plan.terms)
            if (seen := self._windows[self.plan.series(position)].seen) < term.lookback
        }


class _SeriesWindow:
    """The newest bars of one series, contiguous, and the terms computed on them."""

    def __init__(self, plan: FeaturePlan, key: SeriesKey, markets: Mapping[str, Market]) -> None:
        names = plan.inputs(key)
        self.end = _NEVER
        self.seen = 0
        self._timeframe = key.timeframe
        self._session = (
            market_of(markets, key.symbol, "calendar features").session if needs_calendar(names) else None
        )
        layout = (
            *BAR_COLUMNS,
            *(CALENDAR_COLUMNS if self._session else ()),
            *(PAIR_COLUMNS if needs_pair(names) else ()),
        )
        self._kept = plan.lookback(key)
        self._used = 0
        self._buffer = np.empty((len(layout), 2 * self._kept))
        readable = self._buffer.view()
        readable.setflags(write=False)
        self.positions = [p for p in range(len(plan.terms)) if plan.series(p) == key]
        self._calls = [
            (
                driver(term.feature),
                (
                    *(readable[layout.index(name)] for name in term.feature.inputs),
                    *term.feature.arguments(term.parameters),
                    term.lookback,
                ),
                position,
            )
            for position in self.positions
            for term in (plan.terms[position],)
        ]

    def append(self, end: int, values: tuple[float, ...], pair: tuple[float, ...], terms: Floats) -> None:
        """Append one bar and write the terms of this series into `terms`."""
        if self._used == self._buffer.shape[1]:
            self._buffer[:, : self._kept] = self._buffer[:, self._kept :]
            self._used = self._kept
        calendar = self._session.column_row(end, self._timeframe) if self._session else ()
        self._buffer[:, self._used] = (*values, *calendar, *pair)
        self._used += 1
        self.seen += 1
        self.end = end
        for drive, arguments, position in self._calls:
            drive(*arguments, self._used - 1, self._used, terms, position)
