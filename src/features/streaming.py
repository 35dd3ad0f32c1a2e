"""`WindowFeatures`: the newest vector from ring buffers, by the same drivers that batch uses."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.errors import FeatureError
from lockstep.features.as_of import PAIR_PRICES, offsets_of
from lockstep.features.blocks import BarBlock
from lockstep.features.columns import market_of, market_rolls, pair_key, source_keys
from lockstep.features.driver import Driver, drive_modifiers, driver
from lockstep.features.inputs import PAIR_COLUMNS
from lockstep.features.plan import COLD, MISSING, FeaturePlan, needs_calendar, needs_pair
from lockstep.market.asof import MaxAge
from lockstep.market.bars import BAR_COLUMNS, PRICE_COLUMNS, Floats, Stamps
from lockstep.market.history import BarSet, Market, SeriesKey
from lockstep.market.rolls import Rolls, moved
from lockstep.market.sessions import CALENDAR_COLUMNS

# Bars of a pair are followed by the offset of their contract, in ticks.
_NO_PAIR = (math.nan,) * (len(PAIR_COLUMNS) + 1)
_NEVER = -(2**62)
_ROOM = 512
"""Bars that a buffer takes, at least, before it has to be moved."""
_REMEMBERED = 500


@dataclass(kw_only=True)
class _Ahead:
    """Sets that are computed and not all pushed yet.

    vectors   float64 (base bars, ids); rows   by place of a set: the row of its vector, -1 without a base bar
    pushed    how many of the sets were pushed
    """

    block: BarBlock
    vectors: Floats
    rows: list[int]
    pushed: int = 0

    def bars(self, key: SeriesKey) -> int:
        """Return how many bars of a series were pushed."""
        return int(np.searchsorted(self.block.bars(key)[0], self.pushed))


class WindowFeatures:
    """Computes the vectors of `plan` bar set by bar set, as the live engine does.

    `push` takes all bars that completed at one stamp; `vector(stamp)` then gives the same bits that
    `BatchFeatures` gives for that stamp. Sets known in advance can be prepared as a block, which is faster.

    >>> from lockstep.features import BatchFeatures, FeatureRegistry
    >>> from lockstep.market import DAILY, SeriesKey
    >>> from lockstep.market.loader import load_history
    >>> key = SeriesKey("COMP", DAILY)
    >>> history = load_history("COMP", start="2018-01-02")
    >>> plan = FeatureRegistry().plan(["ibs", "rsi_2"], key)
    >>> windows = WindowFeatures(plan, history.markets)
    >>> windows.push_all(list(history.bar_sets()))
    >>> stamp = int(history.series(key).end[-1])
    >>> windows.vector(stamp).tobytes() == BatchFeatures(plan, history).vector(stamp).tobytes()
    True
    """

    def __init__(
        self, plan: FeaturePlan, markets: Mapping[str, Market], *, max_age: MaxAge | None = None
    ) -> None:
        self.plan = plan
        self._max_age = max_age or MaxAge()
        self._markets = markets
        self._windows = {key: _SeriesWindow(plan, key, markets) for key in plan.keys}
        self._pairs = {key: pair_key(markets, key) for key in plan.pair_keys}
        self._keys = source_keys(plan, markets)
        self._newest = dict.fromkeys(self._keys, _NEVER)
        # A bar that comes late is paired with what its pair was then, not with what it became.
        self._recent: dict[SeriesKey, deque[tuple[int, tuple[float, ...]]]] = {
            pair: deque(maxlen=_REMEMBERED) for pair in self._pairs.values()
        }
        self._terms = np.full(len(plan.terms), np.nan)
        self._vector = np.full(len(plan.ids), np.nan)
        self._end = _NEVER
        self._ahead: _Ahead | None = None

    @property
    def keys(self) -> tuple[SeriesKey, ...]:
        """Every series whose bars must be pushed, sorted; those of other series are passed over."""
        return self._keys

    def push(self, bar_set: BarSet) -> None:
        """Take the bars that completed at `bar_set.stamp`; FeatureError on a stamp that is not later."""
        stamp = bar_set.stamp
        if self._ahead is not None:
            self._take(bar_set, self._ahead)
            return
        for key, values in bar_set.bars.items():
            if key in self._newest:
                self._require_later(key, stamp, self._newest[key])
                self._newest[key] = stamp
                if key in self._recent:
                    self._recent[key].append((stamp, (*values, self._offset(key, stamp))))
        for key, values in bar_set.bars.items():
            if key in self._windows:
                self._windows[key].append(stamp, values, self._pair_values(key, stamp), self._terms)
        if self.plan.base in bar_set.bars:
            self._freeze(stamp)

    def push_all(self, bar_sets: Sequence[BarSet]) -> None:
        """Take many sets in their order, at once."""
        self.prepare(BarBlock.of(bar_sets))
        for bar_set in bar_sets:
            self.push(bar_set)

    def prepare(self, block: BarBlock) -> None:
        """Compute the sets that will be pushed next, in a fraction of the time that one by one takes.

        The same kernels run over the same windows, so the vectors are the same. `push` must then be called
        with these very sets in their order. FeatureError where the stamps of a series do not rise, and where
        sets that were prepared before are not all pushed.
        """
        if self._ahead is not None:
            raise FeatureError(f"vectors of {self.plan.base}: push what was prepared before preparing more")
        if not block.sets:
            return
        paired = {key: self._paired(key, block) for key in self._windows}
        for key in self._keys:
            for end in block.bars(key)[1].tolist():
                self._require_later(key, end, self._newest[key])
                self._newest[key] = end
        for pair, recent in self._recent.items():
            places, ends, _ = block.bars(pair)
            recent.extend(
                (end, (*block.sets[place].bars[pair], self._offset(pair, end)))
                for place, end in zip(
                    places[-_REMEMBERED:].tolist(), ends[-_REMEMBERED:].tolist(), strict=True
                )
            )
        vectors = self.plan.multiply(self._joined(block, paired))
        vectors.setflags(write=False)
        places = block.bars(self.plan.base)[0]
        rows = np.full(len(block.sets), -1)
        rows[places] = np.arange(places.size)
        self._ahead = _Ahead(block=block, vectors=vectors, rows=rows.tolist())

    def _paired(self, key: SeriesKey, block: BarBlock) -> Floats:
        """Return what `_pair_values` finds at the bars of `key`: float64 (n, 6), or (n, 0) without a pair.

        That is, of the last bars of the pair that had come, the newest that is not after the bar.
        """
        places, ends, _ = block.bars(key)
        if key not in self._pairs:
            return np.empty((places.size, 0))
        pair_places, pair_ends, pair_values = block.bars(self._pairs[key])
        recent = self._recent[self._pairs[key]]
        known_ends = np.array([*(end for end, _ in recent), *pair_ends.tolist()], dtype=np.int64)
        earlier = np.array([_NO_PAIR, *(values for _, values in recent)])
        offsets = offsets_of(self._rolls(self._pairs[key]), pair_ends)
        known = np.concatenate((earlier, np.column_stack((pair_values, offsets))))
        came = len(recent) + np.searchsorted(pair_places, places, side="right")
        count = np.minimum(came, np.searchsorted(known_ends, ends, side="right"))
        found = known[count]
        age = ends - np.concatenate(([_NEVER], known_ends))[count]
        found[(age > self._max_age.nanoseconds(key.timeframe)) | (count <= came - _REMEMBERED)] = np.nan
        return found

    def _joined(self, block: BarBlock, paired: Mapping[SeriesKey, Floats]) -> Floats:
        """Append the block to the windows and return the terms as of its base bars, float64 (bars, terms)."""
        places, ends, _ = block.bars(self.plan.base)
        joined = np.empty((places.size, len(self.plan.terms)))
        for key, window in self._windows.items():
            own_places, own_ends, values = block.bars(key)
            terms = window.extend(own_ends, values, paired[key])
            known = np.column_stack((self._terms[window.positions], terms))
            newest = np.searchsorted(own_places, places, side="right")
            age = ends - np.concatenate(([window.end], own_ends))[newest]
            fresh = age <= self._max_age.nanoseconds(key.timeframe)
            joined[:, window.positions] = np.where(fresh, known[:, newest], np.nan).T
            self._terms[window.positions] = known[:, -1]
        return joined

    def _take(self, bar_set: BarSet, ahead: _Ahead) -> None:
        """Step to the next set that was prepared."""
        expected = ahead.block.sets[ahead.pushed]
        if bar_set is not expected:
            raise FeatureError(
                f"bars at {bar_set.stamp} were pushed where those at {expected.stamp} were prepared: "
                "push what was prepared, in its order"
            )
        row = ahead.rows[ahead.pushed]
        if row >= 0:
            self._vector, self._end = ahead.vectors[row], bar_set.stamp
        ahead.pushed += 1
        if ahead.pushed == len(ahead.rows):
            for key, window in self._windows.items():
                window.count(ahead.block.bars(key)[1])
            self._ahead = None

    def _require_later(self, key: SeriesKey, stamp: int, before: int) -> None:
        if before >= stamp:
            raise FeatureError(f"bars of {key}: stamp {stamp} does not follow {before}")

    def _rolls(self, key: SeriesKey) -> Rolls | None:
        return market_rolls(self._markets, key)

    def _offset(self, key: SeriesKey, end: int) -> float:
        rolls = self._rolls(key)
        return 0.0 if rolls is None else float(rolls.ticks(np.array([end], dtype=np.int64))[0])

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
        self._end = stamp

    def vector(self, stamp: int) -> Floats:
        """Return the vector of the newest base bar; see `FeatureSource`."""
        if stamp != self._end:
            raise FeatureError(f"vector of {self.plan.base} at {stamp}: the newest bar ended at {self._end}")
        return self._vector

    def absence(self, column: int, stamp: int) -> str:
        """Return why a value is NaN; see `FeatureSource`."""
        cold = (
            self._seen(position) < self.plan.terms[position].lookback
            for position in self.plan.factors[column]
        )
        return COLD if any(cold) else MISSING

    def filling(self) -> dict[str, tuple[int, int]]:
        """Return, per term whose window is not full, (bars seen, bars needed)."""
        return {
            str(term): (seen, term.lookback)
            for position, term in enumerate(self.plan.terms)
            if (seen := self._seen(position)) < term.lookback
        }

    def _seen(self, position: int) -> int:
        """Return how many bars of the series of a term were pushed."""
        key = self.plan.series(position)
        return self._windows[key].seen + (self._ahead.bars(key) if self._ahead else 0)


class _SeriesWindow:
    """The newest bars of one series, contiguous, and the terms computed on them.

    Beside the bars stand the values of the features that a term ranks or lags: each is computed once.

    seen, end   how many bars were pushed, and the end of the newest; the buffer may be a block ahead of them

    Where contracts are rolled, the buffer holds prices as the contract of the newest bar sees them, and
    beside them the bars' own.
    """

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
        positions = plan.positions(key)
        remembered = [
            plain for plain, found in positions.items() if any(plan.terms[each] != plain for each in found)
        ]
        rows = len(layout) + len(remembered)
        own = market_rolls(markets, key)
        pair = market_rolls(markets, pair_key(markets, key)) if needs_pair(names) else None
        rolled = [(PRICE_COLUMNS, own, False), (PAIR_PRICES, pair, True)]
        kinds = [(columns, rolls, paired) for columns, rolls, paired in rolled if rolls is not None]
        size = rows + len(kinds) * (len(PRICE_COLUMNS) + 1)
        self._buffer = np.empty((size, self._kept + max(self._kept, _ROOM)))
        self._bars = self._buffer[: len(layout)]
        self._rolled = [
            _Rolled(self._buffer, [layout.index(name) for name in columns], rows + place * 5, rolls, paired)
            for place, (columns, rolls, paired) in enumerate(kinds)
        ]
        readable = self._buffer.view()
        readable.setflags(write=False)
        self._remembered: list[tuple[Driver, tuple[Any, ...], Floats]] = []
        self._calls: list[tuple[Driver, tuple[Any, ...], int]] = []
        for plain, found in positions.items():
            arguments = (
                *(readable[layout.index(name)] for name in plain.feature.inputs),
                *plain.feature.arguments(plain.parameters),
                plain.lookback,
            )
            if plain not in remembered:
                self._calls.append((driver(plain.feature), arguments, found[0]))
                continue
            row = len(layout) + len(self._remembered)
            self._remembered.append((driver(plain.feature), arguments, self._buffer[row]))
            for position in found:
                term = plan.terms[position]
                self._calls.append((drive_modifiers, (readable[row], term.rank, term.lag), position))
        self.positions = [position for *_, position in self._calls]

    def append(self, end: int, values: tuple[float, ...], pair: tuple[float, ...], terms: Floats) -> None:
        """Append one bar and write the terms of this series into `terms`."""
        self._make_room()
        calendar = self._session.column_row(end, self._timeframe) if self._session else ()
        self._bars[:, self._used] = (*values, *calendar, *pair[: len(PAIR_COLUMNS)])
        self._used += 1
        self.seen += 1
        self.end = end
        if self._rolled:
            ends, pairs = np.array([end], dtype=np.int64), np.array([pair])
            self._see(self._used - 1, [each.offsets(ends, pairs) for each in self._rolled])
        for drive, arguments, row in self._remembered:
            drive(*arguments, self._used - 1, self._used, row, self._used - 1)
        for drive, arguments, position in self._calls:
            drive(*arguments, self._used - 1, self._used, terms, position)

    def extend(self, ends: Stamps, values: Floats, pair: Floats) -> Floats:
        """Append bars that are not counted yet; return the terms at each, float64 (terms of the series, n).

        values   float64 (n, 5), of the bars; pair   of their pairs, float64 (n, 6), or (n, 0)
        """
        terms, done = np.empty((len(self._calls), ends.size)), 0
        offsets = [each.offsets(ends, pair) for each in self._rolled]
        rolls = self._changes(offsets)
        while done < ends.size:
            next_roll = rolls[np.searchsorted(rolls, done, side="right")] if rolls.size else ends.size
            part = slice(done, min(done + self._make_room(), int(next_roll)))
            rows = [*values[part].T, *self._calendar(ends[part]), *pair[part, : len(PAIR_COLUMNS)].T]
            first, self._used = self._used, self._used + rows[0].size
            self._bars[:, first : self._used] = rows
            self._see(first, [each[part] for each in offsets])
            for drive, arguments, row in self._remembered:
                drive(*arguments, first, self._used, row, first)
            for row, (drive, arguments, _) in zip(terms, self._calls, strict=True):
                drive(*arguments, first, self._used, row, done)
            done += self._used - first
        return terms

    def _changes(self, offsets: list[Floats]) -> Stamps:
        """Return the rows at which another contract is the newest, and how many rows there are."""
        if not offsets:
            return np.empty(0, dtype=np.int64)
        found = np.zeros(offsets[0].size, dtype=np.bool_)
        for each in offsets:
            there = np.flatnonzero(~np.isnan(each))
            found[there[1:][np.diff(each[there]) != 0]] = True
        return np.append(np.flatnonzero(found), offsets[0].size)

    def _see(self, first: int, offsets: list[Floats]) -> None:
        """Take the offsets of rows from `first` on; where they are of another contract, move the window."""
        moved_all = [
            each.see(first, self._used, new) for each, new in zip(self._rolled, offsets, strict=True)
        ]
        if any(moved_all):
            for drive, arguments, row in self._remembered:
                drive(*arguments, 0, first, row, 0)

    def count(self, ends: Stamps) -> None:
        """Count bars as pushed that `extend` appended."""
        if ends.size:
            self.seen += ends.size
            self.end = int(ends[-1])

    def _make_room(self) -> int:
        """Return how many bars the buffer takes, at least one; where it is full the oldest are dropped."""
        width = self._buffer.shape[1]
        if self._used == width:
            self._buffer[:, : self._kept] = self._buffer[:, width - self._kept :]
            self._used = self._kept
        return width - self._used

    def _calendar(self, ends: Stamps) -> list[Floats]:
        return list(self._session.columns(ends, self._timeframe).values()) if self._session else []


class _Rolled:
    """Price columns of a window whose contracts are rolled: the bars' own prices, and where each stands.

    buffer   of the window; columns   its rows of prices as they are seen; first   its row from which on it
             holds their own prices and the offset of their contract, in ticks, NaN for a pair that has no bar
    """

    def __init__(self, buffer: Floats, columns: list[int], first: int, rolls: Rolls, paired: bool) -> None:
        self._buffer = buffer
        self._columns = columns
        self._own = buffer[first : first + len(columns)]
        self._offset = buffer[first + len(columns)]
        self._rolls = rolls
        self._paired = paired
        self._newest = math.nan

    def offsets(self, ends: Stamps, pair: Floats) -> Floats:
        """Return the offsets of bars, float64 (n,)."""
        return pair[:, -1] if self._paired else self._rolls.ticks(ends).astype(np.float64)

    def see(self, first: int, stop: int, offsets: Floats) -> bool:
        """Take rows first <= i < stop, which are of one contract; return whether earlier ones were moved."""
        self._own[:, first:stop] = self._buffer[self._columns, first:stop]
        self._offset[first:stop] = offsets
        known = offsets[~np.isnan(offsets)]
        if not known.size or known[-1] == self._newest:
            return False
        self._newest = float(known[-1])
        ticks = np.nan_to_num(self._newest - self._offset[:stop]).astype(np.int64)
        self._buffer[self._columns, :stop] = moved(self._own[:, :stop], ticks, self._rolls.tick)
        return True
