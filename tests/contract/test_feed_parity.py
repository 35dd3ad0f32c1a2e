"""One history through replay, a growing file and a port: the bar sets that research sees, bit for bit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lockstep.live.feeds.bar_maker import Stream
from lockstep.live.feeds.http import HttpFeed
from lockstep.live.feeds.replay import ReplayFeed
from lockstep.live.feeds.synchroniser import Known, Synchroniser
from lockstep.live.feeds.tail import TailFeed
from lockstep.live.messages import Arrival, Release, Values
from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.history import BarSet, History, SeriesKey
from lockstep.market.loader import load_bars, load_history
from lockstep.market.source import Source
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.market.timetable import Timetable
from support.feeds import (
    COMP,
    DAY_SPY,
    GRACE,
    HOUR_SPY,
    QUARTER_6E,
    SPX,
    TOKEN,
    Engine,
    ManualClock,
    bar_sets,
    expected_sets,
    iso,
    posted,
    request,
    rows_of,
)

BOOK = load_instruments()
MINUTE = Timeframe.parse("1min")


def engine(history: History, traded: SeriesKey, known: Known | None = None) -> Engine:
    timetable = Timetable({key: BOOK.session(key.symbol) for key in history.bars})
    return Engine(Synchroniser(timetable, grace_ns=GRACE, traded=frozenset({traded}), known=known))


def hours_and_days() -> Stream:
    frames = (HOUR_SPY.timeframe, DAILY)
    return Stream(symbol="SPY", base=HOUR_SPY.timeframe, timeframes=frames, session=BOOK.session("SPY"))


def minutes_to_quarters() -> Stream:
    frames = (QUARTER_6E.timeframe,)
    return Stream(symbol="6E", base=MINUTE, timeframes=frames, session=BOOK.session("6E"))


def until(history: History, key: SeriesKey, first: int, count: int) -> History:
    """Return all series between two bars of `key`."""
    ends = history.series(key).end
    since, last = int(ends[first - 1]), int(ends[first + count - 1])

    def part(bars: Bars) -> Bars:
        start, stop = np.searchsorted(bars.end, [since, last], side="right")
        return bars.rows(int(start), int(stop))

    return replace(history, bars={each: part(bars) for each, bars in history.bars.items()})


def daily_pair() -> History:
    return until(load_history("COMP", timeframe=DAILY, start="2009-01-01"), COMP, 200, 150)


def hourly(shared_data: Path) -> History:
    """Around Thanksgiving and Christmas 2018: three half-days, and a day of mourning without a session."""
    folder = shared_data / "equity_hourly"
    history = load_history("SPY", folder, timeframe=HOUR_SPY.timeframe, context=[DAY_SPY])
    first = int(
        np.searchsorted(history.series(HOUR_SPY).end, np.datetime64("2018-11-20", "ns").astype(np.int64))
    )
    return until(history, HOUR_SPY, first, 240)


def quarters(shared_data: Path) -> tuple[History, Bars]:
    """Two weeks of 6E in quarter-hours, and the minutes that they are made of."""
    folder = shared_data / "futures_1min"
    minutes = load_bars("6E", folder, timeframe=MINUTE).rows(0, 12_000)
    quarter = load_bars("6E", folder, timeframe=QUARTER_6E.timeframe)
    made = quarter.rows(0, int(np.searchsorted(quarter.end, minutes.end[-1], side="right")))
    return History(bars={QUARTER_6E: made}, markets={"6E": BOOK.market("6E")}), minutes


def assert_same(releases: list[Release], history: History) -> None:
    wanted = expected_sets(history)
    assert bar_sets(releases) == wanted
    assert all(not release.late for release in releases)
    assert len(wanted) > 100


# ---- replay


def replayed(history: History, traded: SeriesKey) -> list[Release]:
    return engine(history, traded).run(ReplayFeed.of(history))


def test_replay_of_a_daily_pair() -> None:
    history = daily_pair()
    assert_same(replayed(history, COMP), history)


def test_replay_of_hours_with_daily_context(shared_data: Path) -> None:
    history = hourly(shared_data)
    assert_same(replayed(history, HOUR_SPY), history)


def test_replay_of_quarter_hours(shared_data: Path) -> None:
    history, _ = quarters(shared_data)
    assert_same(replayed(history, QUARTER_6E), history)


def perturbed(history: History, change: Callable[[Arrival], list[Arrival]]) -> list[BarSet]:
    arrivals = [
        arrival
        for stamp, bars in history.bar_sets()
        for key, values in bars.items()
        for arrival in change(Arrival(key, stamp, values, stamp, "replay"))
    ]
    ordered = sorted(arrivals, key=lambda each: each.received)
    return bar_sets(engine(history, COMP).run(ReplayFeed(ordered, history.bars)))


@pytest.mark.parametrize("delay", [1, GRACE - 1])
def test_a_pair_that_is_late_within_the_grace_changes_nothing(delay: int) -> None:
    history = daily_pair()

    def late(arrival: Arrival) -> list[Arrival]:
        return [arrival._replace(received=arrival.end + delay * (arrival.key == SPX))]

    assert perturbed(history, late) == expected_sets(history)


def test_mutant_a_pair_that_comes_too_late_or_never_is_caught() -> None:
    """PARITY 29: the sets are whole or say what is missing; the old bar never stands in for the new one."""
    history = daily_pair()

    def too_late(arrival: Arrival) -> list[Arrival]:
        return [arrival._replace(received=arrival.end + (GRACE + 1) * (arrival.key == SPX))]

    alone = [BarSet(stamp, {COMP: bars[COMP]}) for stamp, bars in expected_sets(history)]
    assert perturbed(history, too_late) == alone
    assert perturbed(history, lambda arrival: [arrival] * (arrival.key == COMP)) == alone


# ---- a growing file


def written(bars: Bars) -> list[tuple[int, str]]:
    """Return (end, line) of every bar, stamped in UTC with an offset, floats in full."""
    return [(end, f"{iso(end)},{','.join(map(repr, values))}\n") for end, values in rows_of(bars)]


HEADER = "datetime,open,high,low,close,volume\n"
CLOSING = {"folder": "bars", "stamp": "close", "session": "NYSE", "adjustment": "none", "timezone": "UTC"}
DATED = {**CLOSING, "stamp": "session_date", "timezone": None}


def source(name: str, timeframe: Timeframe, **declared: object) -> Source:
    return Source.model_validate({"name": name, "timeframe": timeframe, **declared})


def dated(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Stamp daily lines (their close is at 21:00 or 20:00 UTC) with the session date."""
    return [(end, line[:10] + line[line.index(",") :]) for end, line in lines]


Tailed = tuple[Stream, Source, list[tuple[int, str]]]


def tailed(history: History, traded: SeriesKey, folder: Path, files: Mapping[str, Tailed]) -> list[Release]:
    """Append line by line in the order of their stamps, some in halves, and look after every write."""
    clock, made, feeds = ManualClock(), engine(history, traded), {}
    for name, (stream, declared, _) in files.items():
        (folder / name).write_text(HEADER)
        feeds[name] = TailFeed(folder / name, stream, declared, clock=clock)
    lines = sorted((end, name, line) for name, (_, _, each) in files.items() for end, line in each)
    for count, (end, name, line) in enumerate(lines):
        clock.now = end
        half = len(line) // 2 if count % 7 == 0 else 0
        for part in (line[:half], line[half:]):
            with (folder / name).open("a") as handle:
                handle.write(part)
            poll(made, feeds[name])
    for feed in feeds.values():
        feed.stop()
    return made.finish()


def poll(made: Engine, feed: TailFeed) -> None:
    if items := feed.poll():
        made.inbox.put(items)
        made.step()


def test_growing_files_of_a_daily_pair(tmp_path: Path) -> None:
    history = daily_pair()
    files = {
        f"{key.symbol}.csv": (
            Stream(symbol=key.symbol, base=DAILY, timeframes=(DAILY,), session=BOOK.session(key.symbol)),
            source(key.symbol, DAILY, **DATED),
            dated(written(bars)),
        )
        for key, bars in history.bars.items()
    }
    assert_same(tailed(history, COMP, tmp_path, files), history)


def test_a_growing_file_of_hours_makes_its_days(shared_data: Path, tmp_path: Path) -> None:
    history = hourly(shared_data)
    hours = history.series(HOUR_SPY)
    stream = hours_and_days()
    files = {"SPY.csv": (stream, source("SPY", HOUR_SPY.timeframe, **CLOSING), written(hours))}
    found = tailed(history, HOUR_SPY, tmp_path, files)
    assert_same(found, history)


def test_a_growing_file_of_minutes_makes_quarter_hours(shared_data: Path, tmp_path: Path) -> None:
    history, minutes = quarters(shared_data)
    stream = minutes_to_quarters()
    declared = source("6E", MINUTE, **{**CLOSING, "session": "CME"})
    path, clock, made = tmp_path / "6E.csv", ManualClock(), engine(history, QUARTER_6E)
    path.write_text(HEADER)
    feed = TailFeed(path, stream, declared, clock=clock)
    lines = written(minutes)
    sizes = np.random.default_rng(3).integers(1, 200, 400).cumsum()
    for first, last in pairwise([0, *sizes]):
        if part := lines[first:last]:
            clock.now = part[-1][0]
            with path.open("a") as handle:
                handle.writelines(line for _, line in part)
            poll(made, feed)
    feed.stop()
    assert_same(made.finish(), history)


# ---- a port


class Answering:
    """An engine in a thread of its own, and a port in front of it."""

    def __init__(self, history: History, traded: SeriesKey, streams: list[Stream], known: int) -> None:
        """The windows hold what completed up to `known`."""
        self.clock = ManualClock()
        rows = {key: [row for row in rows_of(bars) if row[0] <= known] for key, bars in history.bars.items()}
        self.engine = engine(history, traded, rows)
        self.engine.ahead = GRACE
        self.feed = HttpFeed(streams, token=TOKEN, clock=self.clock)
        self._after = {key: bars[-1][0] for key, bars in rows.items() if bars}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._answer)

    def __enter__(self) -> Answering:
        self.feed.start(self.engine.inbox, self._after)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.engine.inbox.close()
        self._thread.join()
        self.feed.stop()

    def _answer(self) -> None:
        while not self._over.is_set():
            self.engine.step()

    def post(self, rows: list[tuple[SeriesKey, int, Values]]) -> int:
        self.clock.now = rows[-1][1]
        status, _, _ = request(self.feed.address, "POST", "/bars", [posted(*row) for row in rows])
        return status


def sets_after(history: History, known: int) -> list[BarSet]:
    return [bar_set for bar_set in expected_sets(history) if bar_set.stamp > known]


def test_posts_of_a_daily_pair() -> None:
    history = daily_pair()
    known = int(history.series(COMP).end[9])
    streams = [
        Stream(symbol=key.symbol, base=DAILY, timeframes=(DAILY,), session=BOOK.session(key.symbol))
        for key in history.bars
    ]
    wanted = sets_after(history, known)
    with Answering(history, COMP, streams, known) as server:
        for stamp, bars in wanted:
            assert server.post([(key, stamp, values) for key, values in bars.items()]) == 200
    assert bar_sets(server.engine.finish()) == wanted
    assert len(wanted) > 100


def test_posts_of_hours_make_their_days(shared_data: Path) -> None:
    history = hourly(shared_data)
    known = int(history.series(DAY_SPY).end[2])
    stream = hours_and_days()
    wanted = sets_after(history, known)
    codes = []
    with Answering(history, HOUR_SPY, [stream], known) as server:
        for stamp, bars in wanted:
            if HOUR_SPY in bars:
                codes.append(server.post([(HOUR_SPY, stamp, bars[HOUR_SPY])]))
    assert bar_sets(server.engine.finish()) == wanted
    assert set(codes) == {200, 202}


def test_posts_of_minutes_make_quarter_hours(shared_data: Path) -> None:
    history, minutes = quarters(shared_data)
    known = int(history.series(QUARTER_6E).end[20])
    key = SeriesKey("6E", MINUTE)
    rows = [(key, end, values) for end, values in rows_of(minutes) if end > known]
    cuts = [0, *np.random.default_rng(5).integers(1, 300, 100).cumsum()]
    with Answering(history, QUARTER_6E, [minutes_to_quarters()], known) as server:
        codes = {server.post(rows[first:last]) for first, last in pairwise(cuts) if rows[first:last]}
    assert bar_sets(server.engine.finish()) == sets_after(history, known)
    assert codes <= {200, 202}


def test_a_fault_in_one_value_is_caught() -> None:
    """The negative control: one changed close is another bar set."""
    history = daily_pair()
    spx = history.series(SPX)
    close = spx.close.copy()
    close[70] = (spx.high[70] + spx.low[70]) / 2
    changed = replace(history, bars={**history.bars, SPX: replace(spx, close=close)})
    with pytest.raises(AssertionError):
        assert_same(replayed(changed, COMP), history)
