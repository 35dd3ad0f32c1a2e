"""`QualityCase`: one series as all checks look at it. What several of them need is worked out once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lockstep.market.bars import Bars, Floats, Stamps
from lockstep.market.instrument import Instrument
from lockstep.market.quality.finding import RowSpan
from lockstep.market.sessions import Dates, Session, SessionDay

_WINDOW = 61  # sessions


@dataclass(frozen=True)
class SessionRows:
    """Sessions that have bars, in order; every array has one element per session.

    found         their schedule; first, last   rows of the first and last bar
    opens, closes as scheduled; begins, ends   of the first and last bar (UTC ns)
    """

    days: Dates
    found: Sequence[SessionDay]
    first: Stamps
    last: Stamps
    opens: Stamps
    closes: Stamps
    begins: Stamps
    ends: Stamps


@dataclass(frozen=True, kw_only=True, eq=False)
class QualityCase:
    """Bars of one series, the session of their market, and what is declared of the instrument.

    instrument   None: what needs its tick size is not looked at
    """

    bars: Bars
    session: Session
    instrument: Instrument | None = None

    @cached_property
    def dates(self) -> Dates:
        """The session date of each bar (n,)."""
        return self.session.dates(self.bars.end, self.bars.timeframe)

    @cached_property
    def starts(self) -> Stamps:
        """Rows of the first bar of each session date."""
        if not self.dates.size:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(np.concatenate([[True], self.dates[1:] != self.dates[:-1]]))

    @cached_property
    def index(self) -> Stamps:
        """The number of the session that each bar belongs to, among those that have bars (n,)."""
        return np.repeat(np.arange(self.starts.size), np.diff(np.append(self.starts, len(self.bars))))

    @cached_property
    def rows(self) -> SessionRows:
        """The sessions of intraday bars."""
        bars, days = self.bars, self.dates[self.starts]
        last = np.append(self.starts[1:], len(bars)) - 1
        found = self.session.days(days)
        opens, closes = (np.array([getattr(day, name) for day in found]) for name in ("open", "close"))
        return SessionRows(
            days, found, self.starts, last, opens, closes,
            begins=bars.end[self.starts] - bars.timeframe.nanoseconds, ends=bars.end[last],
        )  # fmt: skip

    @cached_property
    def slots(self) -> Stamps:
        """Where intraday bars lie in their session, in bar lengths from its scheduled open (n,)."""
        step = self.bars.timeframe.nanoseconds
        return (self.bars.end - self.rows.opens[self.index] - 1) // step

    @cached_property
    def in_logs(self) -> bool:
        """Whether changes are measured in logarithms: where prices are positive and shifted by no roll."""
        positive = bool((np.minimum(self.bars.open, self.bars.close) > 0).all())
        return positive and self.bars.adjustment != "difference"

    @cached_property
    def changes(self) -> Floats:
        """The change of the close from bar to bar, in points or logarithms (n,); the first is 0."""
        close = np.log(self.bars.close) if self.in_logs else self.bars.close
        found = np.diff(close, prepend=np.nan)
        found[:1] = 0.0
        return found

    @cached_property
    def session_ranges(self) -> Floats:
        """The true range of each session (S,), in points or logarithms; NaN where it has none."""
        bars, starts = self.bars, self.starts
        high, low = np.maximum.reduceat(bars.high, starts), np.minimum.reduceat(bars.low, starts)
        before = np.concatenate([bars.open[:1], bars.close[starts[1:] - 1]])
        high, low = np.maximum(high, before), np.minimum(low, before)
        if self.in_logs:
            # A low of zero is a fault to be found, not a range.
            ranges = np.where(low > 0, np.log(high) - np.log(np.where(low > 0, low, 1.0)), np.nan)
        else:
            ranges = high - low
        ranges[ranges == 0] = np.nan
        return np.asarray(ranges)

    @cached_property
    def scale(self) -> Floats:
        """The median true range of the 61 sessions around each bar's, in points or logarithms (n,).

        A yardstick that grows and shrinks with the market, and that one wild day does not move.
        """
        return np.asarray(_rolling_median(self.session_ranges)[self.index])

    def spans(self, rows: Stamps) -> tuple[RowSpan, ...]:
        """Return the places of single bars: from the end of the bar before to their own."""
        end = self.bars.end
        return tuple((int(end[max(row - 1, 0)]), int(end[row])) for row in rows)

    def names(self, rows: Iterable[int]) -> list[str]:
        """Return the dates of bars; with the wall clock of their end where they are intraday."""
        if self.bars.timeframe.is_session:
            return [str(self.dates[row]) for row in rows]
        return self.session.wall_clock(self.bars.end[np.array(list(rows), dtype=np.int64)])


def _rolling_median(values: Floats) -> Floats:
    """Return the median of a window around each value that shifts at the edges; 0 where all are NaN."""
    window = min(_WINDOW, values.size)
    views = np.lib.stride_tricks.sliding_window_view(values, window)
    ordered = np.sort(views, axis=1)  # NaN come last
    known = (~np.isnan(ordered)).sum(axis=1)
    rows = np.arange(views.shape[0])
    middle = np.where(known > 0, ordered[rows, np.maximum(known - 1, 0) // 2], 0.0)
    return np.asarray(middle[np.clip(np.arange(values.size) - window // 2, 0, middle.size - 1)])
