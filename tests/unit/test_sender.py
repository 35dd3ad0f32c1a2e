"""Which message leaves next, and the threads that carry it out: nothing twice, nothing lost, none dies."""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import LiveError
from lockstep.live.brokers.send_queue import SendQueue
from lockstep.live.brokers.sender import Sender
from lockstep.live.messages import OrderIntent, SendResult
from support.orders import intent

# --- the queue ----------------------------------------------------------------------------------------


def queue(capacity: int = 9, entry_seconds: float = 30.0) -> SendQueue:
    return SendQueue(capacity=capacity, entry_seconds=entry_seconds)


def order(name: str, symbol: str = "ES", *, opens: bool = True) -> OrderIntent:
    return intent(symbol, order_id=name, opens=opens)


def offered(*orders: OrderIntent, **settings: Any) -> SendQueue:
    found = queue(**settings)
    for each in orders:
        found.offer(each, {"id": each.order_id}, 0.0)
    return found


def sent(found: SendQueue, now: float = 0.0) -> list[str]:
    """Return the ids of all that may leave at once."""
    ids = []
    while (outgoing := found.next(now)) is not None:
        assert outgoing.message == {"id": outgoing.intent.order_id}
        ids.append(outgoing.intent.order_id)
    return ids


def outcomes(found: SendQueue) -> dict[str, str]:
    return {each.order_id: each.outcome for each in found.results()}


def acknowledged(name: str) -> SendResult:
    return SendResult(name, "acknowledged", "", 1)


def test_exits_leave_first_then_what_is_oldest() -> None:
    found = offered(
        order("1", "ES"), order("2", "NQ"), order("3", "CL", opens=False), order("4", "GC", opens=False)
    )
    assert sent(found) == ["3", "4", "1", "2"]


def test_an_instrument_has_one_message_on_its_way() -> None:
    found = offered(order("out", opens=False), order("in"), order("other", "NQ"))
    assert sent(found) == ["out", "other"]
    assert sent(found) == []
    found.done(acknowledged("out"))
    assert sent(found) == ["in"]
    assert outcomes(found) == {"out": "acknowledged"}


def test_an_entry_never_overtakes_the_exit_before_it() -> None:
    """Or the exit would close the position that the entry has just opened."""
    found = offered(order("out", opens=False), order("in"))
    assert sent(found) == ["out"]
    found.done(SendResult("out", "unknown", "", 1))
    assert sent(found) == ["in"]


def test_an_exit_withdraws_the_entries_of_its_instrument_that_have_not_left() -> None:
    found = offered(order("flying"), order("waiting"), order("other", "NQ"))
    assert sent(found) == ["flying", "other"]
    found.offer(order("out", opens=False), {"id": "out"}, 1.0)
    assert outcomes(found) == {"waiting": "rejected"}
    assert sent(found) == [], "what is on its way cannot be called back"
    found.done(acknowledged("flying"))
    assert sent(found) == ["out"]


def test_an_entry_that_waited_too_long_is_not_sent() -> None:
    found = offered(order("1"), order("2"), order("other", "NQ"), entry_seconds=5.0)
    assert found.next(0.0) is not None
    assert sent(found, 5.0) == ["other"]
    assert sent(found, 5.1) == []
    (result,) = found.results()
    assert (result.order_id, result.outcome, result.attempts) == ("2", "rejected", 0)
    assert "expired" in result.detail


def test_an_exit_never_expires_and_always_finds_room() -> None:
    entries = [order(str(i), f"S{i}") for i in range(3)]
    exits = [order(f"out-{i}", f"S{i}", opens=False) for i in range(3, 9)]
    found = offered(*entries, *exits, capacity=2)
    assert outcomes(found) == {"2": "rejected"}
    assert sent(found, 1e6) == [each.order_id for each in exits]
    assert outcomes(found) == {"0": "rejected", "1": "rejected"}


def test_an_id_is_taken_once_and_closing_leaves_none_without_a_result() -> None:
    found = offered(order("sent"), order("waiting"), order("done", "NQ"))
    assert sent(found) == ["sent", "done"]
    found.done(acknowledged("done"))
    for name in ("sent", "waiting", "done"):
        with pytest.raises(LiveError, match="at most once"):
            found.offer(order(name), {}, 0.0)
    found.close()
    found.done(acknowledged("sent"))
    found.offer(order("late"), {}, 0.0)
    assert [(each.order_id, each.outcome) for each in found.results()] == [
        ("done", "acknowledged"),
        ("waiting", "rejected"),
        ("sent", "unknown"),
        ("late", "rejected"),
    ]
    assert (len(found), sent(found)) == (0, [])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.sampled_from("ABC"), st.booleans()),
        st.tuples(st.just("next"), st.floats(0.0, 3.0)),
        st.tuples(st.just("done"), st.integers(0, 2)),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_each_id_has_one_result_and_the_rules_hold(steps: list[tuple[Any, ...]]) -> None:
    found, now, number = queue(capacity=3, entry_seconds=4.0), 0.0, 0
    flying: dict[str, OrderIntent] = {}
    waiting: dict[str, OrderIntent] = {}
    results: list[SendResult] = []
    left: defaultdict[str, list[int]] = defaultdict(list)
    for kind, *given_ in steps:
        if kind == "offer":
            number += 1
            each = order(str(number), given_[0], opens=given_[1])
            waiting[each.order_id] = each
            found.offer(each, {}, now)
        elif kind == "next":
            now += given_[0]
            outgoing = found.next(now)
            if outgoing is not None:
                each = waiting.pop(outgoing.intent.order_id)
                refused = {result.order_id for result in found._results}
                free = [
                    other
                    for other in waiting.values()
                    if other.order_id not in refused
                    and other.symbol not in {one.symbol for one in flying.values()}
                ]
                assert each.symbol not in {one.symbol for one in flying.values()}
                assert not (each.opens and any(not other.opens for other in free)), "an exit was passed over"
                left[each.symbol].append(int(each.order_id))
                flying[each.order_id] = each
        elif flying:
            name = list(flying)[given_[0] % len(flying)]
            del flying[name]
            found.done(acknowledged(name))
        news = found.results()
        results += news
        for result in news:
            waiting.pop(result.order_id, None)
        assert len(found) == len(waiting) + len(flying)
    found.close()
    results += found.results()
    assert Counter(result.order_id for result in results) == {str(i): 1 for i in range(1, number + 1)}
    assert all(numbers == sorted(numbers) for numbers in left.values()), "order within an instrument"
    never = {result.order_id for result in results if result.outcome == "rejected"}
    assert never.isdisjoint(str(i) for numbers in left.values() for i in numbers)


# --- the threads --------------------------------------------------------------------------------------


class Results:
    """Collects what a sender says, in whatever thread it says it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.all: list[SendResult] = []

    def __call__(self, result: SendResult) -> None:
        with self._changed:
            self.all.append(result)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[tuple[str, str]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.all) >= count, timeout=10)
            return [(each.order_id, each.outcome) for each in self.all]


class Gate:
    """A `deliver` that waits until it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()

    def __call__(self, order_id: str, message: Any, stopping: threading.Event) -> SendResult:
        self.entered.set()
        self.let_go.wait()
        return acknowledged(order_id)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.let_go.set()


def started(
    deliver: Callable[..., SendResult], results: Results, workers: int = 2, **settings: Any
) -> Sender:
    sender = Sender(deliver, queue(**settings), name="test", workers=workers)
    sender.start(results)
    return sender


def test_a_full_queue_rejects_at_once(gate: Gate) -> None:
    results = Results()
    sender = started(gate, results, capacity=2)
    sender.submit(order("0"), {})
    gate.entered.wait()
    for name in "123":
        sender.submit(order(name), {})
    assert results.all == [SendResult("3", "rejected", "2 entries wait already", 0)]
    assert len(sender) == 3
    gate.let_go.set()
    sender.stop(5.0)
    assert sorted(result.order_id for result in results.all) == ["0", "1", "2", "3"]
    assert [result.outcome for result in results.all].count("acknowledged") == 3


def test_stopping_leaves_no_order_without_a_result(gate: Gate) -> None:
    results = Results()
    sender = started(gate, results)
    for name in ("sent", "waiting"):
        sender.submit(order(name), {})
    gate.entered.wait()
    sender.stop(0.05)
    sender.stop(0.05)
    sender.submit(order("late"), {})
    assert results.wait_for(3) == [("waiting", "rejected"), ("sent", "unknown"), ("late", "rejected")]
    gate.let_go.set()
    sender.stop(5.0)
    assert len(results.all) == 3  # the answer that came after its result was given changes nothing


def test_what_is_queued_is_still_sent_when_stopping(gate: Gate) -> None:
    results = Results()
    sender = started(gate, results)
    for name in ("1", "2", "3"):
        sender.submit(order(name), {})
    gate.entered.wait()
    threading.Timer(0.1, gate.let_go.set).start()
    sender.stop(10.0)
    assert results.all == [acknowledged(name) for name in ("1", "2", "3")]


@pytest.mark.parametrize("error", [ZeroDivisionError, UnicodeEncodeError, MemoryError, SystemExit])
def test_a_worker_survives_whatever_sending_raises(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(order_id: str, message: Any, stopping: threading.Event) -> SendResult:
        if order_id == "fine":
            return acknowledged(order_id)
        if error is UnicodeEncodeError:
            "ü".encode("ascii")
        raise error

    results = Results()
    sender = started(broken, results, workers=1)
    for name in ("1", "2", "fine"):
        sender.submit(order(name), {})
    assert results.wait_for(3) == [("1", "unknown"), ("2", "unknown"), ("fine", "acknowledged")]
    assert results.all[0].detail == f"the sender broke down while sending: {error.__name__}"
    assert sender.faults == 2
    assert [each.levelno for each in caplog.records] == [logging.ERROR] * 2
    assert all(thread.is_alive() for thread in sender._threads)
    sender.stop(5.0)
    assert not any(thread.is_alive() for thread in sender._threads)


def test_a_worker_survives_an_engine_that_cannot_take_a_result() -> None:
    results, broken = Results(), {"1"}

    def receive(result: SendResult) -> None:
        if result.order_id in broken:
            raise RuntimeError
        results(result)

    sender = Sender(
        lambda order_id, message, stopping: acknowledged(order_id), queue(), name="test", workers=1
    )
    sender.start(receive)
    for name in ("1", "2"):
        sender.submit(order(name), {})
    assert results.wait_for(1) == [("2", "acknowledged")]
    assert sender.faults == 1
    sender.stop(5.0)


def test_a_worker_survives_a_queue_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    results, found = Results(), queue()
    answers = iter([KeyError])
    take = found.next

    def sometimes(now: float) -> Any:
        for error in answers:
            raise error
        return take(now)

    monkeypatch.setattr(found, "next", sometimes)
    sender = Sender(lambda order_id, message, stopping: acknowledged(order_id), found, name="test", workers=1)
    sender.start(results)
    sender.submit(order("1"), {})
    assert results.wait_for(1) == [("1", "acknowledged")]
    assert sender.faults == 1
    sender.stop(5.0)


def test_a_sender_that_was_not_started_takes_nothing() -> None:
    sender = Sender(Gate(), queue(), name="test", workers=1)
    with pytest.raises(LiveError, match="not started"):
        sender.submit(order("1"), {})
    sender.stop(1.0)
