"""`Aggregator`: ticks and bars into longer bars, the one implementation for files and for live data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lockstep.compiled import kernel
from lockstep.errors import BadBars, ConfigError
from lockstep.market.bars import BAR_COLUMNS, Bars, Floats, Stamps
from lockstep.market.sessions import Session
from lockstep.market.ticks import Ticks
from lockstep.market.timeframe import Timeframe

NO_BUCKET = np.iinfo(np.int64).min

# Rows of the running bar and of the finished ones: the order of BAR_COLUMNS.
_OPEN, _HIGH, _LOW, _CLOSE, _VOLUME = range(5)


@kernel
def accumulate(
    stamps: Stamps, buckets: Stamps, rows: Floats, bucket: Stamps, bar: Floats, out_end: Stamps, out: Floats
) -> int:
    """Merge n rows into the running bar and write the finished bars; return how many there are.

    stamps, buckets (n,): when a row is complete, and the end of its bucket; rows (5, n). bucket (1,) and
    bar (5,) carry the running bar from call to call. out_end (n + 1,) and out (5, n + 1) take the result.
    Strictly sequential, so that any split of the rows over calls gives the same bits.
    """
    count = 0
    for i in range(stamps.size):
        if bucket[0] != NO_BUCKET and bucket[0] != buckets[i]:
            out_end[count] = bucket[0]
            out[:, count] = bar
            count += 1
            bucket[0] = NO_BUCKET
        if bucket[0] == NO_BUCKET:
            bucket[0] = buckets[i]
            bar[:] = rows[:, i]
        else:
            bar[_HIGH] = max(bar[_HIGH], rows[_HIGH, i])
            bar[_LOW] = min(bar[_LOW], rows[_LOW, i])
            bar[_CLOSE] = rows[_CLOSE, i]
            bar[_VOLUME] += rows[_VOLUME, i]
        if stamps[i] >= bucket[0]:
            out_end[count] = bucket[0]
            out[:, count] = bar
            count += 1
            bucket[0] = NO_BUCKET
    return count


class Aggregator:
    """Makes bars of `timeframe` on the grid of `session` from bars or ticks that arrive in any batches.

    A bar that ends at E is returned once: by the push of the first bar that ends at or after E (or of the
    first tick at or after E), or by `advance` to E or later. Before that it is not to be seen. A tick on a
    boundary belongs to the bar that begins there, a shorter bar to the one that ends there. Bars outside
    the session count towards their bucket and date.
    """

    def __init__(self, symbol: str, timeframe: Timeframe, session: Session) -> None:
        self.symbol = symbol
        self.timeframe = timeframe
        self.session = session
        self._bucket = np.array([NO_BUCKET], dtype=np.int64)
        self._bar = np.zeros(len(BAR_COLUMNS))
        self._newest = NO_BUCKET
        self._emitted = NO_BUCKET

    def push(self, batch: Bars | Ticks) -> Bars:
        """Take the next bars or ticks and return the bars which they complete, possibly none.

        ConfigError where the batch is not of this symbol or does not divide the timeframe; BadBars, with
        nothing taken, where it goes back in time or into a bar that was already returned.
        """
        if batch.symbol != self.symbol:
            raise ConfigError(f"bars of {batch.symbol} pushed into the aggregator of {self.symbol}")
        if isinstance(batch, Ticks):
            stamps, rows = batch.stamp, np.stack([batch.price] * 4 + [batch.volume])
            buckets = self.session.bucket_end(stamps, self.timeframe, closed="left")
        else:
            require_multiple(batch.timeframe, self.timeframe)
            stamps, rows = batch.end, np.stack(list(batch.columns().values()))
            buckets = self.session.bucket_end(stamps, self.timeframe, closed="right")
        if stamps.size:
            self._require_later(batch, int(stamps[0]), int(buckets[0]))
        return self._accumulate(stamps, buckets, rows)

    def advance(self, now: int) -> Bars:
        """Return the running bar if it is over at `now` (UTC nanoseconds), else no bar."""
        if self._bucket[0] == NO_BUCKET or now < self._bucket[0]:
            return self._bars(np.empty(0, dtype=np.int64), np.empty((len(BAR_COLUMNS), 0)))
        finished = self._bars(self._bucket.copy(), self._bar.reshape(-1, 1).copy())
        self._bucket[0] = NO_BUCKET
        return finished

    def _accumulate(self, stamps: Stamps, buckets: Stamps, rows: Floats) -> Bars:
        end = np.empty(stamps.size + 1, dtype=np.int64)
        out = np.empty((len(BAR_COLUMNS), stamps.size + 1))
        count = accumulate(stamps.copy(), buckets, rows, self._bucket, self._bar, end, out)
        if stamps.size:
            self._newest = int(stamps[-1])
        return self._bars(end[:count], out[:, :count])

    def _bars(self, end: Stamps, rows: Floats) -> Bars:
        if end.size:
            self._emitted = int(end[-1])
        columns = dict(zip(BAR_COLUMNS, rows, strict=True))
        return Bars(symbol=self.symbol, timeframe=self.timeframe, end=end, **columns)

    def _require_later(self, batch: Bars | Ticks, stamp: int, bucket: int) -> None:
        follows = stamp >= self._newest if isinstance(batch, Ticks) else stamp > self._newest
        if not follows:
            rule = "must follow what was pushed before"
        elif bucket <= self._emitted:
            rule = f"its {self.timeframe} bar was already returned; late data is not merged"
        else:
            return
        value = f"stamp {np.datetime64(stamp, 'ns')}"
        raise BadBars(source=f"{self.symbol} {self.timeframe} aggregator", line=None, value=value, rule=rule)


def require_multiple(base: Timeframe, timeframe: Timeframe) -> None:
    """Raise ConfigError unless bars of `timeframe` can be made from bars of `base`."""
    longer = not base.is_session and (timeframe.is_session or timeframe.minutes > base.minutes)
    if not longer or timeframe.minutes % max(base.minutes, 1):
        raise ConfigError(f"timeframe {timeframe}: not a longer multiple of {base}; choose one or finer data")


def aggregate(bars: Bars | Ticks, timeframe: Timeframe, session: Session) -> Bars:
    """Return the complete bars of `timeframe` in `bars`; see `Aggregator`."""
    made = Aggregator(bars.symbol, timeframe, session).push(bars)
    if isinstance(bars, Ticks):
        return replace(made, source=bars.source)
    # A bar lies in one session, and so in one contract.
    return replace(made, source=bars.source, adjustment=bars.adjustment, rolls=bars.rolls)
