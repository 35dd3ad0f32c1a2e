"""Every feed: whole sets bit for bit; gaps, duplicates, late, corrected and broken rows as documented."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conformance.benches import FEED_BENCHES, FeedBench, Row

from lockstep.live.feeds.inbox import Inbox
from lockstep.live.feeds.protocol import FeedDesk, FeedSettings, LiveFeed
from lockstep.live.feeds.registry import FEEDS
from lockstep.live.feeds.synchroniser import Synchroniser, Timetable
from lockstep.live.messages import Release
from lockstep.market.config import load_instruments
from lockstep.market.history import BarSet, History, SeriesKey
from lockstep.market.loader import load_bars
from lockstep.market.timeframe import DAILY
from lockstep.plugs import kind_of
from lockstep.secrets import Secrets
from support.feeds import COMP, GRACE, Engine, ManualClock, bar_sets, rows_of
from support.toys.feed import ToyFeed, ToyFeedSettings

REGISTERED: tuple[type[FeedSettings], ...] = (*FEEDS.values(), ToyFeedSettings)
BOOK = load_instruments()
KNOWN, COUNT = 3, 24
DAY = 86_400 * 10**9

every_feed = pytest.mark.parametrize("kind", list(map(kind_of, REGISTERED)))
every_live_feed = pytest.mark.parametrize(
    "kind", [kind_of(each) for each in REGISTERED if getattr(FEED_BENCHES.get(kind_of(each)), "live", True)]
)


def days() -> list[Row]:
    return list(rows_of(load_bars("COMP", timeframe=DAILY).rows(300, 300 + COUNT)))


ROWS = days()


class Desk:
    """A feed of one kind, and an engine in miniature that takes from it in a thread of its own."""

    def __init__(self, kind: str, folder: Path, rows: Sequence[Row], *, after: int = KNOWN) -> None:
        assert kind in FEED_BENCHES, f"feed {kind}: the suite cannot meet it; add its bench to benches.py"
        self.bench: FeedBench = FEED_BENCHES[kind](folder)
        clock = ManualClock(ROWS[-1][0] + 1)
        known = {COMP: ROWS[:after]}
        timetable = Timetable({COMP: BOOK.session("COMP")})
        self.engine = Engine(
            Synchroniser(timetable, grace_ns=GRACE, traded=frozenset({COMP}), known=known), ahead=GRACE
        )
        desk = FeedDesk(
            needs={COMP: 1}, settled=history(rows), book=BOOK, clock=clock, secret=Secrets({}).read
        )
        self.feed: LiveFeed = self.bench.settings().feed(desk)
        self._after = {COMP: ROWS[after - 1][0]}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._take)

    def start(self) -> None:
        self.feed.start(self.engine.inbox, self._after)
        self.bench.began(self.feed)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self.engine.inbox.close()
        self.feed.stop()
        self._thread.join()
        self.bench.close()

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, (self.feed.failure, self.ends, self.kinds)
            time.sleep(0.005)

    @property
    def ends(self) -> list[int]:
        return [release.stamp for release in list(self.engine.releases)]

    @property
    def kinds(self) -> list[str]:
        released = [each for release in list(self.engine.releases) for each in release.irregularities]
        return [each.kind for each in (*released, *list(self.engine.reports))]

    def _take(self) -> None:
        while not self._over.is_set():
            self.engine.step(0.02)
            self.engine.ahead += GRACE  # time goes on, so that nobody is waited for long


def history(rows: Sequence[Row]) -> History:
    bars = load_bars("COMP", timeframe=DAILY).rows(300, 300 + COUNT)
    kept = np.isin(bars.end, [end for end, _ in rows])
    columns = {name: values[kept] for name, values in bars.columns().items()}
    return History(
        bars={COMP: replace(bars, end=bars.end[kept], **columns)}, markets={"COMP": BOOK.market("COMP")}
    )


def sets(rows: Sequence[Row]) -> list[BarSet]:
    return [BarSet(end, {COMP: values}) for end, values in rows]


@contextmanager
def running(kind: str, folder: Path, rows: Sequence[Row], **more: int) -> Iterator[Desk]:
    desk = Desk(kind, folder, rows, **more)
    desk.start()
    try:
        yield desk
    finally:
        desk.stop()


def released(desk: Desk) -> list[BarSet]:
    found: list[Release] = list(desk.engine.releases)
    return bar_sets(found)


@every_feed
def test_every_bar_becomes_one_set_bit_for_bit(kind: str, tmp_path: Path) -> None:
    with running(kind, tmp_path, ROWS) as desk:
        assert desk.feed.keys == {COMP}
        desk.bench.send(ROWS[KNOWN:])
        desk.wait(lambda: ROWS[-1][0] in desk.ends)
    assert released(desk) == sets(ROWS[KNOWN:])
    assert desk.kinds == []
    assert desk.feed.failure is None


@every_feed
def test_what_is_journaled_already_does_not_come_again(kind: str, tmp_path: Path) -> None:
    """After a restart the vendor sends everything once more."""
    with running(kind, tmp_path, ROWS, after=12) as desk:
        desk.bench.send(ROWS)
        desk.wait(lambda: ROWS[-1][0] in desk.ends)
    assert released(desk) == sets(ROWS[12:])
    assert set(desk.kinds) <= {"duplicate"}


@every_feed
def test_a_gap_is_told_and_nothing_else_is_lost(kind: str, tmp_path: Path) -> None:
    rows = [row for number, row in enumerate(ROWS) if number not in (10, 11)]
    with running(kind, tmp_path, rows) as desk:
        desk.bench.send(rows[KNOWN:])
        desk.wait(lambda: rows[-1][0] in desk.ends)
    assert [each for each in released(desk) if each.bars] == sets(rows[KNOWN:])
    assert set(desk.kinds) & {"missing", "gap"}


@every_live_feed
def test_a_duplicate_is_told_and_changes_nothing(kind: str, tmp_path: Path) -> None:
    with running(kind, tmp_path, ROWS) as desk:
        desk.bench.send([*ROWS[KNOWN:10], ROWS[9], *ROWS[10:]])
        desk.wait(lambda: ROWS[-1][0] in desk.ends)
    assert released(desk) == sets(ROWS[KNOWN:])
    assert desk.kinds == ["duplicate"]


@every_live_feed
def test_a_corrected_bar_is_told_and_the_first_one_stands(kind: str, tmp_path: Path) -> None:
    end, (open_, high, low, _, volume) = ROWS[9]
    other = (end, (open_, high, low, (high + low) / 2, volume))
    with running(kind, tmp_path, ROWS) as desk:
        desk.bench.send([*ROWS[KNOWN:10], other, *ROWS[10:]])
        desk.wait(lambda: ROWS[-1][0] in desk.ends)
    assert released(desk) == sets(ROWS[KNOWN:])
    assert desk.kinds == ["corrected"]


@every_live_feed
def test_a_late_bar_is_recorded_and_not_traded_on(kind: str, tmp_path: Path) -> None:
    rows = [row for number, row in enumerate(ROWS) if number != 10]
    with running(kind, tmp_path, ROWS) as desk:
        desk.bench.send(rows[KNOWN:14])
        desk.wait(lambda: rows[13][0] in desk.ends)
        desk.bench.send([ROWS[10], *rows[14:]])
        desk.wait(lambda: ROWS[-1][0] in desk.ends)
    assert [each for each in released(desk) if each.bars] == sets(rows[KNOWN:])
    assert {"out_of_order", "late"} & set(desk.kinds)


@every_live_feed
def test_part_of_a_row_is_no_bar_and_ends_nothing(kind: str, tmp_path: Path) -> None:
    with running(kind, tmp_path, ROWS) as desk:
        desk.bench.send(ROWS[KNOWN:10])
        desk.wait(lambda: ROWS[9][0] in desk.ends)
        desk.bench.send_broken(ROWS[10])
        desk.bench.send(ROWS[10:])
        desk.wait(lambda: ROWS[-1][0] in desk.ends)
    assert released(desk) == sets(ROWS[KNOWN:])
    assert set(desk.kinds) <= {"bad"}
    assert desk.feed.failure is None


@every_feed
def test_it_stops_within_seconds_whatever_the_other_side_does(kind: str, tmp_path: Path) -> None:
    before = threading.active_count()
    with running(kind, tmp_path, ROWS) as desk:
        desk.bench.send(ROWS[KNOWN:8])
        desk.wait(lambda: ROWS[7][0] in desk.ends)
        desk.bench.stall()
        time.sleep(0.05)
        began = time.monotonic()
        desk.engine.inbox.close()
        desk.feed.stop()
        assert time.monotonic() - began < 4
    assert desk.feed.failure is None
    deadline = time.monotonic() + 2
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before, "a thread of the feed is left"


@every_feed
def test_a_full_inbox_makes_a_feed_wait_and_closing_wakes_it(kind: str, tmp_path: Path) -> None:
    desk = Desk(kind, tmp_path, ROWS)
    desk.engine.inbox._capacity = 1
    desk.feed.start(desk.engine.inbox, {})
    desk.bench.began(desk.feed)
    sender = threading.Thread(target=lambda: _ignoring(lambda: desk.bench.send(ROWS)), daemon=True)
    sender.start()
    time.sleep(0.1)
    desk.engine.inbox.close()
    began = time.monotonic()
    desk.feed.stop()
    assert time.monotonic() - began < 4
    sender.join(15)
    desk.bench.close()
    assert desk.feed.failure is None


def _ignoring(act: Callable[[], None]) -> None:
    try:
        act()
    except (AssertionError, OSError):
        pass  # a post to a feed that ends is refused


# --- negative controls


def test_a_feed_that_loses_a_bar_at_a_restart_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_what_is_journaled_already_does_not_come_again("toy", tmp_path)
    start = ToyFeed.start

    def skips(self: ToyFeed, inbox: Inbox, after: Mapping[SeriesKey, int]) -> None:
        start(self, inbox, {key: end + 1 + 5 * DAY for key, end in after.items()})

    monkeypatch.setattr(ToyFeed, "start", skips)
    with pytest.raises(AssertionError):
        test_what_is_journaled_already_does_not_come_again("toy", tmp_path)


def test_a_feed_that_rounds_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = ToyFeed._items

    def rounded(self: ToyFeed, row: dict[str, object]) -> object:
        return items(
            self, {name: round(each) if isinstance(each, float) else each for name, each in row.items()}
        )

    monkeypatch.setattr(ToyFeed, "_items", rounded)
    with pytest.raises(AssertionError):
        test_every_bar_becomes_one_set_bit_for_bit("toy", tmp_path)
