"""Mode live: orders leave once, fills are reported and never simulated, doubt stops entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ReplayMismatch
from lockstep.live.brokers.protocol import Message, OnResult
from lockstep.live.events import Event
from lockstep.live.messages import OrderIntent, SendResult, SetRecord
from lockstep.live.operator.open_orders import OrderName
from support import desks
from support.events import an_event

WARM = 400
MODEL = desks.model(threshold=0.0)
HOUR = 3_600_000_000_000
DAY = 24 * HOUR
WEEK = 7 * DAY


@dataclass
class FakeBroker:
    """Keeps what it was sent and answers as it is told."""

    answers: Callable[[str], SendResult | None] = lambda order_id: SendResult(order_id, "acknowledged", "", 1)
    name: str = "fake"
    waiting: int = 0
    faults: int = 0
    sent: list[tuple[str, Message]] = field(default_factory=list)
    on_result: OnResult = lambda result: None

    def check(self, protected: Mapping[str, bool]) -> None:
        pass

    def message(self, intent: OrderIntent) -> Message:
        return {"id": intent.order_id, "quantity": intent.quantity}

    def start(self, on_result: OnResult) -> None:
        self.on_result = on_result

    def submit(self, intent: OrderIntent, message: Message) -> None:
        self.sent.append((intent.order_id, message))
        result = self.answers(intent.order_id)
        if result is not None:
            self.on_result(result)

    def stop(self, timeout: float) -> None:
        pass


class Filling(desks.FakeOutside):
    """An outside in which the operator reports each acknowledged order's fill at the next look."""

    def __init__(self, journal: desks.MemoryJournal) -> None:
        super().__init__()
        self.journal = journal
        self.seen: set[str] = set()

    def commands(self) -> list[Event]:
        found = []
        sends = {e.order_id: e for e in self.journal.events if e.kind == "send"}
        for event in self.journal.events:
            order_id = getattr(event, "order_id", "")
            if event.kind != "acknowledged" or order_id in self.seen:
                continue
            self.seen.add(order_id)
            found.append(fill(order_id, sends[order_id].message["quantity"]))
        return found

    def done(self, events: Any) -> None:
        pass


def fill(order_id: str, quantity: float, price: float = 2_000.0) -> Event:
    symbol = OrderName.parse(order_id).symbol
    content = {
        "command": f"fill-{order_id}", "fill_id": order_id, "order_id": order_id, "symbol": symbol,
        "order": "market", "quantity": quantity, "price": price, "commission": 2.5, "stamp": 0,
    }  # fmt: skip
    return an_event("fill", symbol=symbol, content=content)


def engine(folder: Path, journal: Any, broker: FakeBroker, outside: Any = None, **setup: Any) -> desks.Engine:
    bars = desks.history(WARM + 80)
    models = {"COMP": MODEL}
    epoch = desks.first_epoch(models, bars, WARM, mode="live")
    return desks.engine(
        folder,
        models,
        journal,
        bars,
        warm=WARM,
        epoch=epoch,
        broker=broker,
        outside=outside,
        **{"expire": WEEK, **setup},
    )


def kinds(journal: desks.MemoryJournal) -> list[str]:
    return [event.kind for event in journal.events]


def positions(journal: desks.MemoryJournal) -> list[float]:
    return [row.lanes[0].state.account[0] for row in journal.sets]


def test_without_a_report_nothing_is_filled(tmp_path: Path) -> None:
    journal, broker = desks.MemoryJournal(), FakeBroker()
    engine(tmp_path, journal, broker).run()
    assert len(broker.sent) == 1
    assert set(positions(journal)) == {0.0}
    reasons = {row.lanes[0].reason for row in journal.sets}
    assert "order waiting" in reasons


def test_reported_fills_open_and_close_positions(tmp_path: Path) -> None:
    journal, broker = desks.MemoryJournal(), FakeBroker()
    engine(tmp_path, journal, broker, Filling(journal)).run()
    assert set(positions(journal)) >= {0.0, 1.0}
    entries = [order_id for order_id, _ in broker.sent if "entry" in order_id]
    exits = [order_id for order_id, _ in broker.sent if "exit" in order_id]
    assert len(entries) > 3
    assert 0 <= len(entries) - len(exits) <= 1
    fills = [o for row in journal.sets for o in row.lanes[0].orders if o.status == "completed"]
    assert {order.price for order in fills} == {2_000.0}
    assert {order.commission for order in fills} == {2.5}


def test_each_step_is_journaled_before_the_next(tmp_path: Path) -> None:
    journal, broker = desks.MemoryJournal(), FakeBroker()
    engine(tmp_path, journal, broker, Filling(journal), stop_after=60).run()
    order_id = broker.sent[0][0]
    where = {
        event.kind: number
        for number, event in enumerate(journal.rows)
        if isinstance(event, Event) and getattr(event, "order_id", "") == order_id
    }
    decided = next(
        number
        for number, row in enumerate(journal.rows)
        if isinstance(row, SetRecord) and f"-{row.release.stamp}-" in order_id
    )
    assert decided < where["send"] < where["acknowledged"] < where["fill"]


def test_restarts_send_nothing_twice(tmp_path: Path) -> None:
    whole, pieces = desks.MemoryJournal(), desks.MemoryJournal()
    one, many = FakeBroker(), FakeBroker()
    engine(tmp_path, whole, one, Filling(whole)).run()
    outside = Filling(pieces)
    while len(pieces.sets) < len(whole.sets):
        engine(tmp_path, pieces, many, outside, stop_after=1).run()
    assert many.sent == one.sent
    assert [repr(replace(row, sequence=0)) for row in pieces.sets] == [
        repr(replace(row, sequence=0)) for row in whole.sets
    ]


def test_regenerated_ids_are_caught(tmp_path: Path) -> None:
    """PARITY 18, the mutant: with another id after a restart the order would be another, and sent again."""
    journal, broker = desks.MemoryJournal(), FakeBroker()
    engine(tmp_path, journal, broker, stop_after=40).run()
    again = engine(tmp_path, journal, broker, stop_after=10)
    again._broker._order_id = lambda symbol, decision, intent: f"1-live-{symbol}-{decision}-{intent}-2"
    with pytest.raises(ReplayMismatch, match="entry-2"):
        again.run()
    assert len(broker.sent) == 1


def test_an_order_that_was_being_sent_in_a_crash_is_unknown_and_never_resent(tmp_path: Path) -> None:
    journal, broker = desks.MemoryJournal(), FakeBroker(answers=lambda order_id: None)
    engine(tmp_path, journal, broker, stop_after=40).run()
    assert len(broker.sent) == 1
    second = FakeBroker()
    restarted = engine(tmp_path, journal, second, stop_after=20)
    restarted.run()
    assert second.sent == []
    assert "unknown" in kinds(journal)
    assert restarted._outbox is not None
    assert restarted._outbox.unknown == {"COMP"}


@pytest.mark.parametrize("outcome", ["placed", "not_placed"])
def test_the_operator_resolves_an_unknown_order(tmp_path: Path, outcome: str) -> None:
    journal = desks.MemoryJournal()
    broker = FakeBroker(answers=lambda order_id: SendResult(order_id, "unknown", "timed out", 1))
    engine(tmp_path, journal, broker, stop_after=40).run()
    ((order_id, message),) = broker.sent
    resolve = {"command": "r", "order_id": order_id, "outcome": outcome, "reason": "asked the broker"}
    outside = desks.FakeOutside(queue=[an_event("resolved", content=resolve)])
    if outcome == "placed":
        outside.queue.append(fill(order_id, message["quantity"]))
    second = FakeBroker()
    restarted = engine(tmp_path, journal, second, outside, stop_after=30)
    restarted.run()
    assert restarted._outbox is not None
    assert (message["quantity"] in positions(journal)) == (outcome == "placed")
    if outcome == "not_placed":
        assert len(second.sent) == 1, "the strategy may enter again"


def test_a_rejected_entry_is_forgotten_and_the_next_may_come(tmp_path: Path) -> None:
    journal = desks.MemoryJournal()
    broker = FakeBroker(answers=lambda order_id: SendResult(order_id, "rejected", "no margin", 1))
    engine(tmp_path, journal, broker).run()
    assert len(broker.sent) > 2
    assert set(positions(journal)) == {0.0}


def test_an_order_that_could_not_leave_in_time_expires(tmp_path: Path) -> None:
    """The engine was down over the open: an order of three days ago must not be sent."""
    whole, journal, broker = desks.MemoryJournal(), desks.MemoryJournal(), FakeBroker()
    engine(tmp_path, whole, FakeBroker(), stop_after=30).run()
    entered = next(n for n, row in enumerate(whole.sets, 1) if row.lanes[0].reason.startswith("enter"))
    engine(tmp_path, journal, broker, stop_after=entered).run()
    late = engine(tmp_path, journal, broker, expire=HOUR, stop_after=1)
    late._now = lambda: journal.sets[-1].release.stamp + 3 * DAY
    late.run()
    assert broker.sent == []
    assert "expired" in next(e for e in journal.events if e.kind == "rejected").detail


def test_the_kill_switch_stops_an_order_that_waits_for_the_open(tmp_path: Path) -> None:
    """PARITY 19: it is read when the order leaves, and not only when it was decided."""
    journal, broker = desks.MemoryJournal(), FakeBroker()
    outside = desks.FakeOutside()

    def look() -> None:
        if journal.sets and journal.sets[-1].lanes[0].reason.startswith("enter"):
            (tmp_path / "KILL").touch()

    outside.on_look = look
    engine(tmp_path, journal, broker, outside, stop_after=40).run()
    assert broker.sent == []
    assert "kill_switch" in next(e for e in journal.events if e.kind == "rejected").detail


NEXT = desks.model(seed=3, threshold=0.0, version="v2")


def promoting(journal: desks.MemoryJournal, kind: str) -> Filling:
    """Return an outside in which v2 is promoted as soon as the journal holds an entry of `kind`."""
    outside = Filling(journal)
    outside.models[NEXT.bundle.sha256] = NEXT

    def look() -> None:
        if any(row.lanes[0].reason.startswith("enter") for row in journal.sets) and kind in kinds(journal):
            outside.production = {"COMP": ("v2", NEXT.bundle.sha256)}

    outside.on_look = look
    return outside


def test_an_entry_of_a_superseded_model_is_not_sent(tmp_path: Path) -> None:
    """PARITY 36: it was decided after the close and waits for the open when another version is promoted."""
    journal, broker = desks.MemoryJournal(), FakeBroker()
    engine(tmp_path, journal, broker, promoting(journal, "start"), stop_after=40).run()
    withdrawn = next(e for e in journal.events if e.kind == "withdrawn").order_id
    assert withdrawn not in [order_id for order_id, _ in broker.sent]
    assert kinds(journal)[:4] == ["start", "swap_pending", "withdrawn", "swap"]
    assert {row.lanes[0].bundle for row in journal.sets if row.lanes[0].state.account[0]} == {
        NEXT.bundle.sha256
    }


def test_an_entry_that_was_sent_is_risk_that_was_taken_before(tmp_path: Path) -> None:
    journal, broker = desks.MemoryJournal(), FakeBroker()
    engine(tmp_path, journal, broker, promoting(journal, "send"), stop_after=40).run()
    first = broker.sent[0][0]
    assert "withdrawn" not in kinds(journal)
    assert next(e.order_id for e in journal.events if e.kind == "fill") == first
    held = [row.lanes[0].bundle for row in journal.sets if row.lanes[0].state.account[0]]
    assert held[0] == MODEL.bundle.sha256
    swap = next(e for e in journal.events if e.kind == "swap")
    assert swap.position == 0.0, "manage_out: it left by its own rules"
    sent = [order_id for order_id, _ in broker.sent]
    assert [each.split("-")[-2] for each in sent[:2]] == ["entry", "exit"]


def test_a_second_report_of_a_fill_after_a_restart_is_not_booked(tmp_path: Path) -> None:
    """A restart between a fill and the next bar: the account does not show it yet, the journal does."""
    journal = desks.MemoryJournal()
    engine(tmp_path, journal, FakeBroker(), Filling(journal), stop_after=40).run()
    order_id = next(e for e in journal.events if e.kind == "fill").order_id
    cut = next(n for n, row in enumerate(journal.rows) if isinstance(row, Event) and row.kind == "fill")
    quantity = journal.rows[cut].quantity
    short = desks.MemoryJournal(journal.rows[: cut + 1])
    twice = fill(order_id, quantity)
    twice = replace(twice, command="again", fill_id="again")
    engine(tmp_path, short, FakeBroker(), desks.FakeOutside(queue=[twice]), stop_after=5).run()
    assert "no order waits" in next(e for e in short.events if e.kind == "bad_command").error
    engine(tmp_path, short, FakeBroker(), stop_after=5).run()


def test_a_step_back_to_shadow_refuses_entries_from_the_next_set_on(tmp_path: Path) -> None:
    journal, broker = desks.MemoryJournal(), FakeBroker()
    step = {"command": "s", "stage": 0, "fraction": 0.0, "comparison": "", "reason": "fills are worse"}
    outside = desks.FakeOutside(queue=[an_event("rollout", content=step)])
    engine(tmp_path, journal, broker, outside, stop_after=40).run()
    restarted = engine(tmp_path, journal, broker, stop_after=20)
    restarted.run()
    assert restarted.effects.fraction == 0.0
    assert broker.sent == []
    assert {event.rule for row in journal.sets for event in row.events} == {"rollout"}


@pytest.mark.parametrize("quantity", [1.0, 0.0])
def test_a_fill_that_nobody_expects_is_not_booked(tmp_path: Path, quantity: float) -> None:
    """A wrong row of a statement must neither move the account nor stop the engine for ever."""
    journal = desks.MemoryJournal()
    outside = desks.FakeOutside(queue=[fill("1-live-COMP-5-entry-1", quantity)])
    engine(tmp_path, journal, FakeBroker(), outside, stop_after=20).run()
    engine(tmp_path, journal, FakeBroker(), stop_after=20).run()
    (refused,) = (event for event in journal.events if event.kind == "bad_command")
    assert "no order waits" in refused.error or "quantity 0" in refused.error
    assert set(positions(journal)) == {0.0}


def test_a_fill_on_paper_is_refused(tmp_path: Path) -> None:
    journal = desks.MemoryJournal()
    outside = desks.FakeOutside(queue=[fill("1-paper-COMP-5-entry-1", 1.0)])
    bars, models = desks.history(WARM + 20), {"COMP": MODEL}
    desks.engine(tmp_path, models, journal, bars, warm=WARM, outside=outside).run()
    assert "simulates" in next(e for e in journal.events if e.kind == "bad_command").error


def test_a_tenth_of_the_size_is_refused_where_that_is_no_contract(tmp_path: Path) -> None:
    journal, broker = desks.MemoryJournal(), FakeBroker()
    engine(tmp_path, journal, broker, fraction=0.1).run()
    assert broker.sent == []
    assert {event.rule for row in journal.sets for event in row.events} == {"rollout"}


SPX = desks.model("SPX", seed=1, threshold=0.0)


def thinned(bars: int) -> desks.History:
    """Return a history in which SPX has only every third bar after the warm-up."""
    history = desks.history(WARM + bars)
    key = SPX.key
    kept = history.bars[key]
    rows = np.r_[0:WARM, WARM : len(kept) : 3]
    columns = {name: column[rows] for name, column in kept.columns().items()}
    return replace(history, bars={**history.bars, key: replace(kept, end=kept.end[rows], **columns)})


def two_instruments(
    folder: Path, journal: desks.MemoryJournal, broker: FakeBroker, outside: Any = None, **setup: Any
) -> desks.Engine:
    bars, models = thinned(60), {"COMP": MODEL, "SPX": SPX}
    epoch = desks.first_epoch(models, bars, WARM, mode="live")
    named = {"expire": WEEK, "broker": broker, "outside": outside, "epoch": epoch, **setup}
    return desks.engine(folder, models, journal, bars, warm=WARM, **named)


def test_a_fill_between_two_bars_of_its_instrument_is_shown_with_the_next(tmp_path: Path) -> None:
    """Bars of another instrument come between; the desk goes on, and a restart reproduces it."""
    journal = desks.MemoryJournal()
    two_instruments(tmp_path, journal, FakeBroker(), Filling(journal)).run()
    held = {0.0}
    for row in journal.sets:
        for lane in row.lanes:
            filled = [order.quantity for order in lane.orders if order.status == "completed"]
            if lane.symbol == "SPX":
                held.add(lane.state.account[0])
                assert len(filled) <= 1
    fills = [event for event in journal.events if event.kind == "fill" and event.symbol == "SPX"]
    assert len(fills) > 2
    assert len(held) > 1
    again = desks.MemoryJournal(list(journal.rows))
    restarted = two_instruments(tmp_path, again, FakeBroker(), Filling(again), stop_after=0)
    restarted.run()
    assert restarted.replayed == len(journal.sets)


def test_an_order_that_is_withdrawn_between_two_bars_is_part_of_the_next(tmp_path: Path) -> None:
    journal = desks.MemoryJournal()
    broker = FakeBroker(answers=lambda order_id: SendResult(order_id, "rejected", "no margin", 1))
    two_instruments(tmp_path, journal, broker).run()
    mine = [lane for row in journal.sets for lane in row.lanes if lane.symbol == "SPX"]
    states = [order.status for lane in mine for order in lane.orders]
    rejected = [e for e in journal.events if e.kind == "rejected" and e.symbol == "SPX"]
    assert len(rejected) > 2
    assert states.count("canceled") >= len(rejected) - 1
    assert all(lane.state.waiting is None or lane.state.waiting.decision for lane in mine)


def test_an_order_that_filled_is_not_withdrawn_any_more(tmp_path: Path) -> None:
    """A fill is reported, and then somebody says that the order was not placed: the fill is booked."""
    journal, broker = desks.MemoryJournal(), FakeBroker(answers=lambda order_id: None)
    engine(tmp_path, journal, broker, stop_after=40).run()
    ((order_id, message),) = broker.sent
    resolve = {"command": "r", "order_id": order_id, "outcome": "not_placed", "reason": "misread"}
    queue = [fill(order_id, message["quantity"]), an_event("resolved", content=resolve)]
    engine(tmp_path, journal, FakeBroker(), desks.FakeOutside(queue=queue), stop_after=10).run()
    assert [kind for kind in kinds(journal) if kind in ("fill", "resolved")] == ["fill", "resolved"]
    assert message["quantity"] in positions(journal)


def test_orders_of_days_before_a_restart_do_not_count_as_those_of_today(tmp_path: Path) -> None:
    """The clock of a replay is that of the restart; what was ordered last week was ordered last week."""
    limits = desks.OPEN_LIMITS.model_copy(update={"max_orders_per_day": 1})
    whole, journal = desks.MemoryJournal(), desks.MemoryJournal()
    engine(tmp_path, whole, FakeBroker(), Filling(whole), limits=limits).run()
    decided = [row.lanes[0].reason.startswith("enter") for row in whole.sets]
    last = max(number for number, entered in enumerate(decided) if entered)
    assert sum(decided[:last]) > 3
    engine(tmp_path, journal, FakeBroker(), Filling(journal), limits=limits, stop_after=last).run()
    restarted = engine(tmp_path, journal, FakeBroker(), Filling(journal), limits=limits)
    restarted._gate._now = lambda: whole.sets[last].release.stamp
    restarted.run()
    rules = {event.rule for row in journal.sets for event in row.events}
    assert "orders_per_day" not in rules


def until_an_exit_waits(folder: Path, journal: desks.MemoryJournal) -> tuple[str, str, float]:
    """Run until an exit was decided; return the ids of entry and exit, and the contracts of the exit."""
    whole = desks.MemoryJournal()
    engine(folder, whole, FakeBroker(), Filling(whole)).run()
    waiting = [row.lanes[0].state.waiting for row in whole.sets]
    number, order = next((n, each) for n, each in enumerate(waiting, 1) if each and each.intent == "exit")
    entry = next(each.order_id for each in waiting if each)
    engine(folder, journal, FakeBroker(), Filling(journal), stop_after=number).run()
    return entry, order.order_id, order.terms[0]


def stopped_out(entry: str, quantity: float) -> Event:
    return replace(fill(entry, quantity, 1_900.0), command="stop", fill_id="stop", order="stop")


@pytest.mark.parametrize("both", [False, True])
def test_an_exit_is_not_waited_for_when_a_stop_has_closed_its_position(tmp_path: Path, both: bool) -> None:
    """PARITY 27: the exit was sent, the stop fills first; a fill of the exit is not ours to book."""
    journal = desks.MemoryJournal()
    entry, leaving, quantity = until_an_exit_waits(tmp_path, journal)
    engine(tmp_path, journal, FakeBroker(), stop_after=1).run()
    assert leaving in [event.order_id for event in journal.events if event.kind == "acknowledged"]
    queue = [stopped_out(entry, quantity), *([fill(leaving, quantity)] if both else [])]
    before = len(journal.sets)
    engine(tmp_path, journal, FakeBroker(), desks.FakeOutside(queue=queue), stop_after=10).run()
    after = journal.sets[before:]
    assert {row.lanes[0].state.account[0] for row in after} == {0.0}
    assert all(not each or each.intent == "entry" for each in (row.lanes[0].state.waiting for row in after))
    assert any(row.lanes[0].reason.startswith("enter") for row in after)
    assert kinds(journal).count("bad_command") == both


def test_an_exit_that_waits_for_the_open_is_withdrawn_when_a_stop_has_closed_its_position(
    tmp_path: Path,
) -> None:
    journal, broker = desks.MemoryJournal(), FakeBroker()
    entry, leaving, quantity = until_an_exit_waits(tmp_path, journal)
    outside = desks.FakeOutside(queue=[stopped_out(entry, quantity)])
    engine(tmp_path, journal, broker, outside, stop_after=1).run()
    (withdrawn,) = (event for event in journal.events if event.kind == "withdrawn")
    assert withdrawn.order_id == leaving
    assert leaving not in [order_id for order_id, _ in broker.sent]
