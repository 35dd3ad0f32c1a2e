"""Faults of data, planted into clean minutes: one function for each, which says where it has done it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.minutes import minute_bars
from lockstep.market.aggregator import aggregate
from lockstep.market.bars import PRICE_COLUMNS, Bars
from lockstep.market.sessions import Session
from lockstep.market.timeframe import DAILY, Timeframe
from support.markets import CME, CRYPTO, MINUTE, NYSE, random_bars

HOUR = 60 * MINUTE
QUARTER = 95_000  # minutes, from January to April 2005: the clock changes in the night to 3 April
AT = 40
"""The session, counted from the first, into which faults of a day are planted."""
_RNG = 11


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Bars with a fault.

    first, last   ends of the first and last bar that are wrong, or of those around what is missing (UTC ns)
    also          kinds of findings that the same fault has to lead to, beside its own
    """

    bars: Bars
    first: int
    last: int
    session: Session = CME
    also: tuple[str, ...] = ()


def clean(count: int = QUARTER, seed: int = 3) -> Bars:
    """Return minutes of ES without a fault, on real hours and on the tick grid."""
    return minute_bars(count, seed=seed, faults=False)


# --- What plants ---


def _rows(bars: Bars, session: int = AT) -> tuple[int, int]:
    """Return the first row of a session and the one after its last."""
    dates = CME.dates(bars.end, bars.timeframe)
    day = np.unique(dates)[session]
    first, stop = np.searchsorted(dates, [day, day + np.timedelta64(1, "D")])
    return int(first), int(stop)


def _kept(bars: Bars, keep: NDArray[np.bool_]) -> Bars:
    return replace(bars, end=bars.end[keep], **{name: each[keep] for name, each in bars.columns().items()})


def _without(bars: Bars, first: int, stop: int, **told: tuple[str, ...]) -> Planted:
    keep = np.ones(len(bars), dtype=bool)
    keep[first:stop] = False
    return Planted(bars=_kept(bars, keep), first=int(bars.end[first - 1]), last=int(bars.end[stop]), **told)


def _changed(bars: Bars, first: int, stop: int, *, session: Session = CME, also: tuple[str, ...] = (),
             **columns: NDArray[np.float64]) -> Planted:  # fmt: skip
    """Return bars with other values in some rows; highs and lows go along."""
    values = {name: each.copy() for name, each in bars.columns().items()}
    for name, new in columns.items():
        values[name][first:stop] = new
    body = np.stack([values["open"], values["close"]])
    if "high" not in columns:
        values["high"] = np.maximum(values["high"], body.max(axis=0))
    if "low" not in columns:
        values["low"] = np.minimum(values["low"], body.min(axis=0))
    changed = replace(bars, **values)
    return Planted(
        bars=changed, first=int(bars.end[first]), last=int(bars.end[stop - 1]), session=session, also=also
    )


def _at(bars: Bars, clock: str) -> int:
    """Return the row of the session AT whose bar ends at a wall clock of New York, or right after it."""
    first, stop = _rows(bars)
    clocks = [each[11:] for each in CME.wall_clock(bars.end[first:stop])]
    return first + next(row for row, each in enumerate(clocks) if clock <= each < "17:01")


def missing_session(bars: Bars) -> Planted:
    return _without(bars, *_rows(bars))


def unknown_session(bars: Bars) -> Planted:
    days = aggregate(bars, DAILY, CME)
    row = next(row for row in range(20, len(days)) if np.diff(days.end)[row] > 2 * 24 * HOUR)
    columns = {name: np.insert(each, row + 1, each[row] + 1.0) for name, each in days.columns().items()}
    saturday = days.end[row] + 24 * HOUR
    return Planted(
        bars=replace(days, end=np.insert(days.end, row + 1, saturday), **columns), first=int(saturday),
        last=int(saturday),
    )  # fmt: skip


def hole(bars: Bars) -> Planted:
    row = _at(bars, "10:00")
    return _without(bars, row, row + 45)


def early_end(bars: Bars) -> Planted:
    return _without(bars, _at(bars, "13:00"), _rows(bars)[1])


def late_start(bars: Bars) -> Planted:
    first, stop = _rows(bars)
    return _without(bars, first, (first + stop) // 3 + first // 3)


def late_close(bars: Bars) -> Planted:
    """A market that went on for half an hour after its close on one day in five."""
    last = np.array([_rows(bars, session)[1] - 1 for session in range(5, 60, 5)])
    extra = (bars.end[last][:, None] + MINUTE * np.arange(1, 31)).ravel()
    rows = np.repeat(last, 30)
    end = np.concatenate([bars.end, extra])
    order = np.argsort(end, kind="stable")
    columns = {name: np.concatenate([each, each[rows]])[order] for name, each in bars.columns().items()}
    return Planted(bars=replace(bars, end=end[order], **columns), first=int(extra[0]), last=int(extra[-1]),
                   also=("copied_bar",))  # fmt: skip


def other_hours(bars: Bars) -> Planted:
    """The hours of stocks, declared to be those of futures."""
    inside = NYSE.in_session(bars.end, bars.timeframe)
    return Planted(bars=_kept(bars, inside), first=int(bars.end[0]), last=int(bars.end[-1]),
                   also=("early_end", "missing_session"))  # fmt: skip


def thin_session(bars: Bars) -> Planted:
    first, stop = _rows(bars)
    keep = np.ones(len(bars), dtype=bool)
    keep[first + 1 : stop - 1] = np.random.default_rng(_RNG).random(stop - first - 2) > 0.4
    return Planted(bars=_kept(bars, keep), first=int(bars.end[first]), last=int(bars.end[stop - 1]))


def thin_minute(bars: Bars) -> Planted:
    noon = np.array([each[11:] == "12:00" for each in CME.wall_clock(bars.end)])
    return Planted(bars=_kept(bars, ~noon), first=int(bars.end[0]), last=int(bars.end[-1]))


def spike(bars: Bars) -> Planted:
    row = _at(bars, "11:00")
    return _changed(bars, row, row + 1, low=bars.low[row] / 2)


def print_at_night(bars: Bars) -> Planted:
    """Thirty ticks in a minute of the night that moves by one, and back."""
    row = _at(bars, "02:00")
    return _changed(bars, row, row + 1, high=bars.high[row] + 7.5)


def outlier(bars: Bars) -> Planted:
    """A change that stays, in a minute of the night."""
    row = _at(bars, "02:00")
    moved = {name: each[row:] + 20.0 for name, each in bars.columns().items() if name != "volume"}
    moved["open"][0] -= 20.0
    moved["low"][0] -= 20.0
    whole = _changed(bars, row, len(bars), **moved)
    return replace(whole, last=whole.first)


def _from(bars: Bars, row: int, factor: float, also: tuple[str, ...] = ()) -> Planted:
    moved = {name: getattr(bars, name)[row:] * factor for name in PRICE_COLUMNS}
    moved = {name: np.round(each / 0.25) * 0.25 for name, each in moved.items()}
    whole = _changed(bars, row, len(bars), also=also, **moved)
    return replace(whole, last=whole.first)


def jump(bars: Bars) -> Planted:
    return _from(bars, _at(bars, "11:00"), 1.2)


def roll(bars: Bars) -> Planted:
    """Two contracts in one file, joined at an open."""
    return _from(bars, _rows(bars)[0], 0.85)


def scale(bars: Bars) -> Planted:
    return _from(bars, _rows(bars)[0], 100.0)


def scale_of_days(bars: Bars) -> Planted:
    """Ten days in cents."""
    days = aggregate(bars, DAILY, CME)
    moved = {name: getattr(days, name)[AT : AT + 10] * 100.0 for name in PRICE_COLUMNS}
    return replace(_changed(days, AT, AT + 10, **moved), last=int(days.end[AT + 10]))


def off_grid(bars: Bars) -> Planted:
    row = _at(bars, "11:00")
    return _changed(bars, row, row + 3, close=bars.close[row : row + 3] + 0.1)


def other_tick(bars: Bars) -> Planted:
    moved = {name: getattr(bars, name) + 0.1 for name in PRICE_COLUMNS}
    return _changed(bars, 0, len(bars), **moved)


def stale_open(bars: Bars) -> Planted:
    dates = CME.dates(bars.end)
    first = np.flatnonzero(dates[1:] != dates[:-1]) + 1
    opens = bars.open.copy()
    opens[first] = bars.close[first - 1]
    whole = _changed(bars, 0, len(bars), open=opens)
    return whole


def flat(bars: Bars) -> Planted:
    """A feed that stands still for three hours of the day."""
    row = _at(bars, "10:00")
    count = _at(bars, "13:00") - row
    still = np.full(count, bars.close[row])
    return _changed(bars, row, row + count, open=still, high=still, low=still, close=still)


def no_volume(bars: Bars) -> Planted:
    gone = np.random.default_rng(_RNG).random(len(bars)) < 0.2
    return _changed(bars, 0, len(bars), volume=np.where(gone, 0.0, bars.volume))


def silent(bars: Bars) -> Planted:
    row = _at(bars, "10:00")
    return _changed(bars, row, row + 60, volume=np.zeros(60))


def volume_unit(bars: Bars) -> Planted:
    """Contracts become lots of a hundred."""
    row = _rows(bars)[0]
    whole = _changed(bars, row, len(bars), volume=np.ceil(bars.volume[row:] / 100.0))
    return replace(whole, last=whole.first)


def no_range(bars: Bars) -> Planted:
    """A file of closes that somebody made into bars."""
    return _changed(bars, 0, len(bars), open=bars.close, high=bars.close, low=bars.close)


def copied_bar(bars: Bars) -> Planted:
    """A feed that repeats its last bar for five minutes."""
    row = _at(bars, "10:00")
    row += int(np.argmax(bars.high[row:] > bars.low[row:]))
    same = {name: np.full(5, each[row]) for name, each in bars.columns().items()}
    return _changed(bars, row + 1, row + 6, **same)


def copied_session(bars: Bars) -> Planted:
    """The bars of a session under the date of a week later."""
    first, stop = _rows(bars)
    begin, end = _rows(bars, AT + 5)
    keep = np.ones(len(bars), dtype=bool)
    keep[begin:end] = False
    stamps = np.concatenate([bars.end[keep], bars.end[first:stop] + 7 * 24 * HOUR])
    order = np.argsort(stamps, kind="stable")
    columns = {
        name: np.concatenate([each[keep], each[first:stop]])[order] for name, each in bars.columns().items()
    }
    copied = bars.end[[first, stop - 1]] + 7 * 24 * HOUR
    moved = replace(bars, end=stamps[order], **columns)
    return Planted(bars=moved, first=int(copied[0]), last=int(copied[1]))


def copied_day(bars: Bars) -> Planted:
    days = aggregate(bars, DAILY, CME)
    same = {name: np.array([each[AT]]) for name, each in days.columns().items()}
    return _changed(days, AT + 9, AT + 10, **same)


def wrong_zone(bars: Bars) -> Planted:
    """Chicago taken for New York: an hour early."""
    return Planted(bars=replace(bars, end=bars.end - HOUR), first=int(bars.end[0]), last=int(bars.end[-1]),
                   also=("outside", "stale_open"))  # fmt: skip


def no_summer_time(bars: Bars) -> Planted:
    """A server whose clock does not change: an hour late from the night on in which New York's does."""
    summer = bars.end > np.datetime64("2005-04-03T10:00", "ns").astype(np.int64)
    return Planted(bars=replace(bars, end=np.where(summer, bars.end + HOUR, bars.end)),
                   first=int(bars.end[summer][0]), last=int(bars.end[-1]), also=("outside",))  # fmt: skip


def coins(seed: int = _RNG) -> Bars:
    """Return eight months of a market that never closes, busy from 13 to 21 UTC; bars of 15 minutes."""
    first = int(np.datetime64("2023-01-02", "ns").astype(np.int64))
    end = first + 15 * MINUTE * np.arange(1, 96 * 240 + 1, dtype=np.int64)
    hour = (end // HOUR) % 24
    width = np.where((hour >= 13) & (hour < 21), 30.0, 8.0)
    draw = np.random.default_rng(seed)
    close = 30_000 + np.cumsum(draw.normal(size=end.size) * width)
    opens = np.concatenate([[30_000.0], close[:-1]]) + draw.normal(size=end.size)
    high = np.maximum(opens, close) + draw.exponential(size=end.size) * width
    low = np.minimum(opens, close) - draw.exponential(size=end.size) * width
    made = random_bars(end, Timeframe.parse("15min"), symbol="BTC-USD")
    return replace(made, open=opens, high=high, low=low, close=close)


def wrong_zone_of_coins(_: Bars) -> Planted:
    """Two months of another server, three hours late."""
    bars = coins()
    first, stop = 96 * 31, 96 * 89
    end = bars.end.copy()
    end[first:stop] += 3 * HOUR
    keep = np.concatenate([[True], np.diff(end) > 0])
    keep[stop : stop + 12] = False
    moved = _kept(replace(bars, end=np.arange(end.size, dtype=np.int64)), keep)
    return Planted(bars=replace(moved, end=end[keep]), first=int(end[first]), last=int(end[stop - 1]),
                   session=CRYPTO)  # fmt: skip


Plant = Callable[[Bars], Planted]

PLANTS: dict[str, tuple[str, Plant]] = {
    "a session is missing": ("missing_session", missing_session),
    "a Saturday has a bar": ("unknown_session", unknown_session),
    "45 minutes are missing": ("hole", hole),
    "a session ends early": ("early_end", early_end),
    "a session begins late": ("late_start", late_start),
    "some sessions go on after the close": ("outside", late_close),
    "the file has the hours of stocks": ("late_start", other_hours),
    "a session lacks bars here and there": ("thin_session", thin_session),
    "a minute of the day is missing": ("thin_minute", thin_minute),
    "a low is half of the price": ("spike", spike),
    "a print at night": ("print", print_at_night),
    "a change at night that stays": ("outlier", outlier),
    "a jump within a session": ("jump", jump),
    "a roll": ("jump", roll),
    "prices in cents from a day on": ("scale", scale),
    "ten days in cents": ("scale", scale_of_days),
    "three closes off the grid": ("off_grid", off_grid),
    "a whole file off the grid": ("off_grid", other_tick),
    "opens are the closes before": ("stale_open", stale_open),
    "a feed stands still": ("flat", flat),
    "a fifth of the bars has no volume": ("no_volume", no_volume),
    "an hour has no volume": ("silent", silent),
    "volume in lots of a hundred": ("volume_unit", volume_unit),
    "bars made of closes": ("no_range", no_range),
    "a feed repeats a bar": ("copied_bar", copied_bar),
    "a session is another's copy": ("copied_session", copied_session),
    "a day is another's copy": ("copied_session", copied_day),
    "another time zone": ("shifted_clock", wrong_zone),
    "no summer time": ("shifted_clock", no_summer_time),
    "another time zone for two months of a market that never closes": ("shifted_clock", wrong_zone_of_coins),
}
"""By what is wrong: the kind of finding that it has to lead to, and what plants it."""
