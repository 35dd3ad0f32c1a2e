"""Mode live opens nothing before positions agree with the broker's and the clock is known to be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lockstep.live.brokers.protocol import Holding, Message, OnResult
from lockstep.live.clock_check import ClockVerdict
from lockstep.live.events import Event
from lockstep.live.messages import OrderIntent, SendResult
from lockstep.live.reconciliation import Reconciliation
from support import desks
from support.events import an_event
from support.papers import Broker

WARM, BARS = 400, 60
MODEL = desks.model(threshold=0.0)
DAY = 86_400_000_000_000
WEEK = 7 * DAY


@dataclass
class Sending(Broker):
    """Acknowledges everything, and keeps what it was sent."""

    sent: list[str] = field(default_factory=list)
    on_result: OnResult = lambda result: None

    def message(self, intent: OrderIntent) -> Message:
        return {"quantity": intent.quantity, "intent": intent.intent}

    def submit(self, intent: OrderIntent, message: Message) -> None:
        self.sent.append(str(message["intent"]))
        self.on_result(SendResult(intent.order_id, "acknowledged", "", 1))


class Exchange(desks.FakeOutside):
    """A broker that fills what was acknowledged at the next look, and says what it holds.

    says   from (bar sets so far, what it holds) to what the export says: None where there is no export
    hidden   fills that it makes and does not report
    """

    def __init__(self, journal: desks.MemoryJournal, says: Callable[[int, float], float | None]) -> None:
        super().__init__()
        self.journal, self.says = journal, says
        self.hidden: set[int] = set()
        self.reported: set[str] = set()
        self.held = 0.0
        self.trouble = ""

    def commands(self) -> list[Event]:
        sends = {e.order_id: e for e in self.journal.events if e.kind == "send"}
        found = list(self.queue)
        for event in self.journal.events:
            order_id = getattr(event, "order_id", "")
            if event.kind == "acknowledged" and order_id not in self.reported:
                self.reported.add(order_id)
                quantity = sends[order_id].message["quantity"]
                self.held += quantity
                if len(self.reported) not in self.hidden:
                    found.append(fill(order_id, quantity))
        return found

    def done(self, events: Any) -> None:
        self.queue.clear()

    def read(self, now: int) -> Mapping[str, Holding]:
        said = self.says(len(self.journal.sets), self.held)
        return {} if said is None else {"COMP": Holding(said, now, "export")}


def fill(order_id: str, quantity: float) -> Event:
    content = {
        "command": order_id, "fill_id": order_id, "order_id": order_id, "symbol": "COMP", "order": "market",
        "quantity": quantity, "price": 2_000.0, "commission": 2.5, "stamp": 0,
    }  # fmt: skip
    return an_event("fill", symbol="COMP", content=content)


def always(sets: int, held: float) -> float | None:
    return held


def run(
    folder: Path, says: Callable[[int, float], float | None], *, journal: desks.MemoryJournal | None = None,
    hidden: set[int] | None = None, queue: list[Event] | None = None, stop_after: int | None = None,
    clock: Callable[[int], ClockVerdict] | None = None,
) -> tuple[desks.MemoryJournal, Sending, Any]:  # fmt: skip
    kept = desks.MemoryJournal() if journal is None else journal
    outside, broker = Exchange(kept, says), Sending()
    outside.reported = {str(e.order_id) for e in kept.events if e.kind == "fill"}
    outside.hidden, outside.queue = hidden or set(), queue or []
    bars = desks.history(WARM + BARS)
    epoch = desks.first_epoch({"COMP": MODEL}, bars, WARM, mode="live")
    sessions = {"COMP": bars.markets["COMP"].session}
    engine = desks.engine(
        folder, {"COMP": MODEL}, kept, bars, warm=WARM, epoch=epoch, broker=broker, outside=outside,
        expire=WEEK, stop_after=stop_after, clock=clock,
        reconciliation=Reconciliation(sessions, started=0, source=outside),
    )  # fmt: skip
    engine.run()
    return kept, broker, engine


def rules(journal: desks.MemoryJournal) -> set[str]:
    refused = {str(event.rule) for row in journal.sets for event in row.events}
    rejected = (e.detail.split(":")[0] for e in journal.events if e.kind == "rejected")
    return refused | set(rejected)


def of_kind(journal: desks.MemoryJournal, kind: str) -> list[Event]:
    return [event for event in journal.events if event.kind == kind]


def test_positions_that_agree_let_entries_go_day_by_day(tmp_path: Path) -> None:
    journal, broker, engine = run(tmp_path, always)
    assert broker.sent.count("entry") > 3
    assert rules(journal) == set()
    reconciled = of_kind(journal, "reconciled")
    assert len(reconciled) >= BARS
    first = journal.rows.index(reconciled[0])
    assert first < journal.rows.index(next(e for e in journal.events if e.kind == "send"))
    assert engine.doubts["unreconciled"] == {}


def test_without_a_statement_nothing_is_opened(tmp_path: Path) -> None:
    journal, broker, engine = run(tmp_path, lambda sets, held: None)
    assert broker.sent == []
    assert rules(journal) == {"unreconciled"}
    assert of_kind(journal, "unreconciled") == []
    assert "lockstep orders reconcile" in engine.doubts["unreconciled"]["COMP"]


def test_a_statement_that_stops_coming_ends_the_entries_and_no_exit(tmp_path: Path) -> None:
    """The last one comes while a position is open."""
    whole, _, _ = run(tmp_path, always)
    opened = [n for n, row in enumerate(whole.sets, 1) if row.lanes[0].state.account[0]]
    last = next(n for n in opened if n > 10 and n + 1 in opened and n + 2 in opened)
    journal, broker, _ = run(tmp_path, lambda sets, held: held if sets <= last else None)
    end = whole.sets[last].release.stamp
    later = [e.message["intent"] for e in of_kind(journal, "send") if e.time > end]
    assert set(later) == {"exit"}
    assert broker.sent.count("exit") == broker.sent.count("entry"), "what was open could leave"
    assert rules(journal) == {"unreconciled"}


def test_a_difference_is_told_with_both_numbers_and_settled_by_the_missing_fill(tmp_path: Path) -> None:
    """A fill is not reported; the export shows it."""
    journal, broker, engine = run(tmp_path, always, hidden={1}, stop_after=20)
    assert broker.sent == ["entry"]
    told = of_kind(journal, "unreconciled")[0]
    assert len({event.time // DAY for event in of_kind(journal, "unreconciled")}) == len(
        of_kind(journal, "unreconciled")
    ), "once a day"
    assert (told.symbol, told.position, abs(told.quantity)) == ("COMP", 0.0, 1.0)
    assert "the engine holds +0, the broker" in engine.doubts["unreconciled"]["COMP"]
    assert "waits for its fill" in engine.doubts["unreconciled"]["COMP"]
    sent = of_kind(journal, "send")[0]
    found = fill(str(sent.order_id), sent.message["quantity"])
    journal, broker, engine = run(
        tmp_path, lambda sets, held: sent.message["quantity"] if sets < 22 else None,
        journal=journal, queue=[found], stop_after=1,
    )  # fmt: skip
    assert of_kind(journal, "reconciled")[-1].position == told.quantity


def test_the_operator_may_say_what_the_broker_shows(tmp_path: Path) -> None:
    def said(position: float) -> list[Event]:
        stamp = desks.history(WARM + BARS).bars[MODEL.key].end[WARM - 1]
        content = {
            "command": "r",
            "symbol": "COMP",
            "position": position,
            "stamp": int(stamp),
            "reason": "saw it",
        }
        return [an_event("reconcile", symbol="COMP", content=content)]

    journal, _, engine = run(tmp_path, lambda sets, held: None, queue=said(0.0), stop_after=1)
    assert [e.source for e in of_kind(journal, "reconciled")] == ["the operator"]
    journal, _, engine = run(tmp_path, lambda sets, held: None, queue=said(-3.0), stop_after=1)
    assert "the broker -3 (the operator" in of_kind(journal, "unreconciled")[0].detail
    assert "COMP" in engine.doubts["unreconciled"]


def test_a_restart_asks_again_and_replays_what_was_refused(tmp_path: Path) -> None:
    journal, _, _ = run(tmp_path, lambda sets, held: held if sets < 5 else None, stop_after=25)
    refused = [row.events for row in journal.sets]
    assert any(refused)
    journal, _, engine = run(tmp_path, lambda sets, held: None, journal=journal, stop_after=10)
    assert engine.replayed == 25
    assert [row.events for row in journal.sets[:25]] == refused
    assert "COMP" in engine.doubts["unreconciled"]


def test_paper_has_no_broker_to_agree_with(tmp_path: Path) -> None:
    content = {"command": "r", "symbol": "COMP", "position": 0.0, "stamp": 0, "reason": "saw it"}
    outside = desks.FakeOutside(queue=[an_event("reconcile", symbol="COMP", content=content)])
    journal, bars = desks.MemoryJournal(), desks.history(WARM + BARS)
    desks.engine(tmp_path, {"COMP": MODEL}, journal, bars, warm=WARM, outside=outside, stop_after=20).run()
    assert "simulates its fills and positions" in of_kind(journal, "bad_command")[0].error
    assert any(o.status == "completed" for row in journal.sets for o in row.lanes[0].orders)


@pytest.mark.parametrize("first", [None, False])
def test_entries_wait_for_a_clock_that_is_right(tmp_path: Path, first: bool | None) -> None:
    ends = desks.history(WARM + BARS).bars[MODEL.key].end
    from_then_on, until = int(ends[WARM + 20]), int(ends[WARM + 45])

    def verdict(now: int) -> ClockVerdict:
        good = first if now < from_then_on else now < until
        return ClockVerdict(good, "is 0.010 s ahead" if good else "is 4.000 s behind")

    journal, _, engine = run(tmp_path, always, clock=verdict)
    assert rules(journal) == {"clock"}
    sent = [e.time for e in of_kind(journal, "send") if e.message["intent"] == "entry"]
    assert sent
    assert from_then_on <= min(sent) <= max(sent) < until
    told = [event.good for event in of_kind(journal, "clock")]
    assert told == ([False, True, False] if first is False else [True, False])
    assert engine.doubts["clock"] == "is 4.000 s behind"
