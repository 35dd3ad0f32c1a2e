"""The queue between feeds and the engine, the threads that fill it, and the clock that all share."""

from __future__ import annotations

import threading

import pytest

from lockstep.errors import DataError, FeedError, InboxClosed, InboxFull
from lockstep.live.feeds.inbox import Inbox, Item, Worker
from lockstep.live.feeds.protocol import SteadyClock
from lockstep.live.feeds.replay import ReplayFeed
from lockstep.live.feeds.source import InboxSource
from lockstep.live.feeds.synchroniser import Synchroniser
from lockstep.live.messages import Irregularity
from lockstep.market.timetable import Timetable
from support.feeds import COMP, SPX, ManualClock, arrival, closes

(END,) = closes("2018-12-11")
BAR, OTHER = arrival(COMP, END), arrival(SPX, END)
REPORT = Irregularity("bad", COMP, 0, None, "file:7")


def test_items_come_out_in_the_order_of_deliveries() -> None:
    inbox = Inbox()
    inbox.put([BAR, REPORT])
    inbox.put([OTHER])
    assert len(inbox) == 2
    assert inbox.get(0) == [BAR, REPORT, OTHER]
    assert inbox.get(0) == []


def test_a_full_inbox_refuses_in_time_and_can_be_woken() -> None:
    inbox = Inbox(capacity=1)
    inbox.put([BAR])
    with pytest.raises(InboxFull, match="1 deliveries wait"):
        inbox.put([OTHER], timeout=0)
    inbox.put(())
    assert inbox.get(0) == [BAR]


def test_whoever_waits_for_room_is_let_in() -> None:
    inbox = Inbox(capacity=1)
    inbox.put([BAR])
    thread = threading.Thread(target=inbox.put, args=([OTHER],))
    thread.start()
    found = inbox.get(5)
    found += inbox.get(5)
    thread.join()
    assert found == [BAR, OTHER]


def test_receipts_are_answered_when_nothing_waits() -> None:
    inbox = Inbox()
    both, one = inbox.submit([BAR, REPORT, OTHER]), inbox.submit([OTHER])
    inbox.settle(lambda _: "released")
    assert both.wait(0) is None, "not taken yet"
    inbox.get(0)
    inbox.settle(lambda each: None if each is BAR else "corrected")
    assert (both.wait(0), one.wait(0)) == (None, ("corrected",))
    inbox.settle(lambda _: "released")
    assert both.wait(0) == ("released", "released")


def test_a_closed_inbox_wakes_everybody() -> None:
    inbox = Inbox(capacity=1)
    taken = inbox.submit([BAR])
    inbox.get(0)
    queued = inbox.submit([OTHER])
    inbox.close()
    assert (taken.wait(None), queued.wait(None)) == (None, None)
    with pytest.raises(InboxClosed, match="stopped reading"):
        inbox.put([BAR])
    assert inbox.get(None) == [OTHER]
    inbox.wake()
    assert inbox.get(None) == []
    assert inbox.get(None) == []


def test_a_worker_that_comes_to_its_end() -> None:
    done = threading.Event()
    worker = Worker("quick", done.set)
    worker.stop()
    worker.start()
    assert done.wait(5)
    worker.stop()
    assert worker.failure is None
    with pytest.raises(FeedError, match="started before"):
        worker.start()


def test_a_worker_that_the_engine_left_is_no_failure() -> None:
    inbox = Inbox()
    inbox.close()
    worker = Worker("left", lambda: inbox.put([BAR]))
    worker.start()
    worker.stop()
    assert worker.failure is None


def test_a_worker_that_is_refused_says_why() -> None:
    def refuse() -> None:
        raise DataError("bars.csv: column close is missing")

    worker = Worker("refused", refuse)
    worker.start()
    worker.stop()
    assert worker.failure == "bars.csv: column close is missing"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_dies_is_a_failure() -> None:
    def die() -> None:
        raise ZeroDivisionError

    worker = Worker("dead", die)
    worker.start()
    worker.stop()
    assert worker.failure == "an unexpected ZeroDivisionError ended its thread; see the log"


def test_a_worker_that_does_not_stop_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lockstep.live.feeds.inbox._PATIENCE", 0.01)
    release = threading.Event()
    worker = Worker("stuck", lambda: bool(release.wait(10)) and None)
    worker.start()
    with pytest.raises(FeedError, match=r"feed stuck: did not stop .* close the inbox first"):
        worker.stop()
    release.set()
    worker.stop()


def test_the_steady_clock_follows_forward_and_never_goes_back() -> None:
    wall, monotonic = ManualClock(1_000), ManualClock(50)
    clock = SteadyClock(wall, monotonic)
    wall.now, monotonic.now = 1_010, 60
    assert clock() == 1_010
    wall.now, monotonic.now = 400, 70
    assert clock() == 1_020
    wall.now, monotonic.now = 9_000, 80
    assert clock() == 9_000
    wall.now, monotonic.now = 1_040, 90
    assert clock() == 9_010


class Waiting(Inbox):
    """An inbox into which nothing comes; it notes how long somebody wanted to wait."""

    waited: float | None = None

    def get(self, timeout: float | None) -> list[Item]:
        self.waited = timeout
        return []


def test_a_source_reads_the_inbox_that_it_was_given_once_a_beat() -> None:
    """Also one that is empty, as an inbox is at the start."""
    inbox = Waiting()
    quiet = ReplayFeed((), ())
    source = InboxSource(
        [quiet],
        lambda known: Synchroniser(Timetable({}), grace_ns=0, traded=frozenset()),
        inbox=inbox,
        clock=lambda: 5,
        beat=0.25,
    )
    source.resume({})
    quiet.stop()
    quiet.finished = False
    assert source.next(10**12) is None
    assert inbox.waited == 0.25
