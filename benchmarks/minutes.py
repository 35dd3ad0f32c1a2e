"""Five million minute bars of a future as an exchange would have left them, and the file that holds them.

Real CME hours with their pauses, holidays and early closes. The day has its shape: quiet nights, in which
some minutes leave no bar, a busy open and a busy close. Volatility clusters by session,
weekends open with a gap, and a few holes and jumps are in it, as in any file of fourteen years.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lockstep.market.bars import Bars, Floats, Stamps
from lockstep.market.config import load_instruments
from lockstep.market.timeframe import Timeframe

BARS = 5_000_000
SYMBOL = "ES"
# The source of this name reads bars of a minute that are stamped at their end, UTC.
FOLDER = "futures_1min"
MINUTE = Timeframe(1)
SEED = 12
_TICK = 0.25
_NS = 60_000_000_000
_FIRST = 1_104_703_200_000_000_000  # the evening of 2 January 2005 in Chicago
_YEAR = 345_000  # minutes of trading, about
_BUSY = 510  # minutes from the evening's open to the stock market's, on most days 15 hours and a half
_VOLATILITY, _PERSISTENCE, _SHOCK = 0.0105, 0.97, 0.18  # of a session, as a fraction, and of its logarithm
_QUIET = 0.25  # share of a busy minute's activity that a quiet one has
_HOLES, _HOLE_BARS, _JUMPS = 12, 95, 6


def minute_bars(count: int = BARS, *, seed: int = SEED, faults: bool = True) -> Bars:
    """Return `count` minutes, the same for the same seed everywhere; `faults`: with some holes and jumps."""
    random = np.random.default_rng(seed)
    session = load_instruments().session(SYMBOL)
    ends = _FIRST + np.arange(1, int(1.9 * count) + 20_000, dtype=np.int64) * _NS
    ends = ends[session.in_session(ends, MINUTE)]
    activity = _activity(session.clock_minutes(ends), session.scheduled_close(ends) - ends)
    # A minute in which nobody traded leaves no bar.
    traded = random.random(ends.size) < 1.0 - np.exp(-9.0 * activity)
    for start in (
        random.integers(count // 50, count, _HOLES).tolist() if faults and count > _HOLE_BARS * 50 else ()
    ):
        traded[start : start + _HOLE_BARS] = False
    ends, activity = ends[traded][:count], activity[traded][:count]
    if ends.size < count:
        raise ValueError(f"{count:,} minutes: the hours of {SYMBOL} hold {ends.size:,}; widen the span")
    dates = session.dates(ends, MINUTE).astype(np.int64)
    close, opened = _prices(ends, activity, dates, random, jumps=_JUMPS if faults and count > 100_000 else 0)
    width = close * _VOLATILITY / np.sqrt(_YEAR / 252) * np.sqrt(activity)
    high = np.maximum(opened, close) + random.exponential(0.4, ends.size) * width
    low = np.minimum(opened, close) - random.exponential(0.4, ends.size) * width
    grid = [np.round(column / _TICK) * _TICK for column in (opened, high, low, close)]
    volume = 1.0 + np.floor(random.exponential(900.0, ends.size) * activity)
    names = ("open", "high", "low", "close")
    return Bars(
        symbol=SYMBOL, timeframe=MINUTE, end=ends, **dict(zip(names, grid, strict=True)), volume=volume,
        source="made minutes",
    )  # fmt: skip


def _activity(minute: Floats, left: Stamps) -> Floats:
    """Return how busy each minute is, about 1 on average: quiet nights, an open and a close that are not."""
    since = minute - 930.0  # the stock market opens at 8:30 in Chicago
    day = np.exp(-np.maximum(since, 0.0) / 60.0) + 0.6 + 0.9 * np.exp(-(left / _NS - 60.0).clip(0.0) / 45.0)
    europe = _QUIET * (1.0 + np.exp(-(((minute - 600.0) / 120.0) ** 2)))
    return np.where(since > 0.0, 1.6 * day, europe)


def _prices(
    ends: Stamps, activity: Floats, dates: Stamps, random: np.random.Generator, *, jumps: int
) -> tuple[Floats, Floats]:
    """Return closes and opens off the grid: volatility clusters by session, pauses and weekends jump."""
    starts = np.concatenate(([True], dates[1:] != dates[:-1]))
    sessions = np.cumsum(starts) - 1
    level = np.zeros(int(sessions[-1]) + 1)
    for row, shock in enumerate(random.normal(0.0, _SHOCK, level.size).tolist()):
        level[row] = _PERSISTENCE * level[row - 1] + shock if row else shock
    scale = _VOLATILITY * np.exp(level - 0.5 * level.var())
    moves = scale[sessions] * np.sqrt(activity / (_YEAR / 252)) * random.standard_t(5, ends.size) * 0.77
    # What happened while the market was closed shows at the next open: as much as in a quiet hour or two.
    closed = np.concatenate(([0.0], np.diff(ends) / _NS - 1.0))
    gaps = np.where(closed > 0, scale[sessions] * np.sqrt(np.minimum(closed, 600.0) / 4_000.0), 0.0)
    gaps *= random.standard_normal(ends.size)
    jumping = random.integers(0, ends.size, jumps)
    gaps[jumping] += random.choice([-0.09, 0.09], jumping.size)
    drift = 0.00000008
    close = 1_200.0 * np.exp(np.cumsum(moves + gaps + drift))
    before = np.concatenate(([1_200.0], close[:-1]))
    opened = before * np.exp(gaps) + 0.3 * _TICK * random.standard_normal(ends.size)
    return close, opened


def write_minutes(path: Path, bars: Bars) -> None:
    """Write bars as the text file that a vendor would send: `datetime,open,high,low,close,volume`."""
    import pyarrow as pa
    from pyarrow import csv

    columns = {"datetime": pa.array(bars.end.view("M8[ns]").astype("M8[s]")), **bars.columns()}
    path.parent.mkdir(parents=True, exist_ok=True)
    csv.write_csv(pa.table(columns), path, csv.WriteOptions(quoting_style="none"))
