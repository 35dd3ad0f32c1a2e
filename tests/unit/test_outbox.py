"""The outbox: what is due leaves once, exits before entries, each step journaled before its effect."""

from __future__ import annotations

from dataclasses import dataclass, field

from lockstep.live.brokers.protocol import Message, OnResult
from lockstep.live.events import Event
from lockstep.live.messages import OrderIntent, Refusal, SendResult
from lockstep.live.outbox import Outbox
from support.orders import HOUR, NOON, intent


@dataclass
class Recording:
    """A broker and a journal: what happened, in its order."""

    happened: list[str] = field(default_factory=list)
    name: str = "recording"
    waiting: int = 0
    faults: int = 0

    def check(self, protected: object) -> None: ...

    def message(self, order: OrderIntent) -> Message:
        return {"id": order.order_id}

    def start(self, on_result: OnResult) -> None: ...

    def submit(self, order: OrderIntent, message: Message) -> None:
        self.happened.append(f"submit {order.order_id}")

    def stop(self, timeout: float) -> None: ...

    def commit(self, event: Event) -> None:
        self.happened.append(f"{event.kind} {event.order_id}")


def outbox(recording: Recording, refused: str = "") -> Outbox:
    def review(order: OrderIntent) -> Refusal | None:
        return Refusal(order.order_id, "halt", "asked for") if order.order_id == refused else None

    return Outbox(recording, recording.commit, due=lambda symbol, moment: moment, review=review, expire=HOUR)


def order(name: str, symbol: str, *, opens: bool = True, decision: int = NOON) -> OrderIntent:
    return intent(symbol, order_id=name, opens=opens, decision=decision)


def test_exits_leave_before_entries_and_each_is_journaled_first() -> None:
    recording = Recording()
    box = outbox(recording)
    box.place(
        [order("1", "ES"), order("2", "NQ", opens=False), order("3", "CL"), order("4", "GC", opens=False)]
    )
    assert box.send(NOON) == []
    assert recording.happened == [f"{what} {name}" for name in "2413" for what in ("send", "submit")]
    assert box.send(NOON) == [], "once"


def test_a_reversal_leaves_as_it_was_decided() -> None:
    recording = Recording()
    box = outbox(recording)
    box.place([order("out", "ES", opens=False), order("in", "ES", decision=NOON + 1)])
    assert box.send(NOON + 1) == []
    assert recording.happened == ["send out", "submit out", "send in", "submit in"]


def test_an_entry_that_has_not_left_is_withdrawn_by_a_later_exit() -> None:
    recording = Recording()
    box = outbox(recording)
    box.place([order("in", "ES"), order("other", "NQ"), order("out", "ES", opens=False, decision=NOON + 1)])
    (late,) = box.send(NOON + 1)
    assert (late.order_id, late.outcome, late.attempts) == ("in", "rejected", 0)
    assert "withdrawn" in late.detail
    assert [each for each in recording.happened if each.startswith("submit")] == [
        "submit out",
        "submit other",
    ]


def test_what_may_not_go_or_is_too_late_is_rejected_and_the_rest_goes() -> None:
    recording = Recording()
    box = outbox(recording, refused="2")
    box.place([order("1", "ES", decision=NOON - HOUR - 1), order("2", "NQ"), order("3", "CL")])
    assert [(each.order_id, each.detail.split(":")[0]) for each in box.send(NOON)] == [
        ("1", "not sent in time"),
        ("2", "halt"),
    ]
    assert recording.happened == ["send 3", "submit 3"]


def test_a_result_is_journaled_once() -> None:
    recording = Recording()
    box = outbox(recording)
    box.place([order("1", "ES")])
    box.send(NOON)
    result = SendResult("1", "acknowledged", "", 1)
    assert box.settle(result, NOON) is not None
    assert box.settle(result, NOON) is None
    assert recording.happened == ["send 1", "submit 1", "acknowledged 1"]
