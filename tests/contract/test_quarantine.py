"""PARITY 39 in the engine: an absurd bar changes nothing but the journal, and the operator brings it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.live.codec import content_of
from lockstep.live.engine import Engine
from lockstep.live.events import Event
from lockstep.live.feeds.replay import ReplayFeed, arrivals_of
from lockstep.live.feeds.source import Known
from lockstep.live.feeds.synchroniser import Synchroniser
from lockstep.live.messages import (
    Arrival,
    Irregularity,
    LaneRecord,
    OrderIntent,
    SetRecord,
    Values,
    symbol_of,
)
from lockstep.live.operator.open_orders import Standing
from lockstep.live.plausible import Plausibility
from lockstep.live.quarantine import ACCEPT, REJECT
from lockstep.market.bars import PRICE_COLUMNS
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.market.timetable import Timetable
from lockstep.strategy.matching import POSITION
from research.backtest.result import steps_of
from research.backtest.run import run_backtest
from support import desks, papers
from support.events import an_event

COMP, SPX = SeriesKey("COMP", DAILY), SeriesKey("SPX", DAILY)
WARM, SETS = 400, 45
BAND = Plausibility()
ABSURD: dict[str, Callable[[Values], Values]] = {
    "high 1e308": lambda v: (v[0], 1e308, *v[2:]),
    "low 0": lambda v: (*v[:2], 0.0, *v[3:]),
    "factor 10": lambda v: (*(price * 10 for price in v[:4]), v[4]),
    "volume 1e300": lambda v: (*v[:4], 1e300),
}


def spoilt(
    history: History, key: SeriesKey, rows: Sequence[int], change: Callable[[Values], Values] | None
) -> list[Arrival]:
    """Return what arrives when some bars of a series are changed, or never come."""
    ends = {int(history.bars[key].end[WARM + row]) for row in rows}
    found = []
    for each in arrivals_of(history):
        if each.key == key and each.end in ends:
            found += [each._replace(values=change(each.values))] if change else []
        else:
            found.append(each)
    return found


def run(
    folder: Path, history: History, arrivals: Sequence[Arrival] | None, band: Plausibility | None = BAND
) -> desks.MemoryJournal:
    journal = desks.MemoryJournal()
    models = {"COMP": desks.model(), "SPX": desks.model("SPX", seed=1)}
    desks.engine(folder, models, journal, history, warm=WARM, arrivals=arrivals, band=band).run()
    return journal


def lanes(sets: Sequence[SetRecord]) -> list[str]:
    """Everything that was decided, computed, booked and delivered; not what was reported about bars."""
    return [repr(replace(row, sequence=0, release=replace(row.release, irregularities=()))) for row in sets]


@pytest.mark.parametrize("kind", ABSURD)
def test_an_absurd_bar_is_as_if_it_had_not_come(kind: str, tmp_path: Path) -> None:
    """No window, mark, decision, fill or account knows of it, in its own instrument or the other one."""
    history, rows = desks.history(WARM + SETS), (7, 20, 21, 40)
    found = run(tmp_path, history, spoilt(history, COMP, rows, ABSURD[kind]))
    without = run(tmp_path, history, spoilt(history, COMP, rows, None))
    assert lanes(found.sets) == lanes(without.sets)
    reports = [each for row in found.sets for each in row.release.irregularities]
    assert [each.kind for each in reports].count("implausible") == len(rows)
    assert [each.kind for each in reports].count("missing") == len(rows)


@pytest.mark.parametrize("kind", ABSURD)
def test_without_the_band_it_is_traded_on(kind: str, tmp_path: Path) -> None:
    """The negative control: what the desk did before."""
    history, rows = desks.history(WARM + SETS), (7, 20, 21, 40)
    arrivals = spoilt(history, COMP, rows, ABSURD[kind])
    found, without = (
        run(tmp_path, history, arrivals, None),
        run(tmp_path, history, spoilt(history, COMP, rows, None)),
    )
    assert lanes(found.sets) != lanes(without.sets)


def test_the_band_changes_nothing_of_bars_that_pass(tmp_path: Path) -> None:
    history = desks.history(WARM + SETS)
    assert lanes(run(tmp_path, history, None).sets) == lanes(run(tmp_path, history, None, None).sets)


# ---- the market is really there


def moved(history: History, row: int, factor: float) -> History:
    """Return the history with COMP at another level from a traded row on."""
    bars = history.bars[COMP]
    scale = np.where(np.arange(len(bars)) >= WARM + row, factor, 1.0)
    columns = {name: getattr(bars, name) * scale for name in PRICE_COLUMNS}
    return replace(history, bars={**history.bars, COMP: replace(bars, **columns)})


class Operator(desks.FakeOutside):
    """Decides about the bar that waits longest, as soon as `patience` of them do."""

    def __init__(self, decision: str, patience: int) -> None:
        super().__init__()
        self.decision, self.patience = decision, patience
        self.engine: Engine | None = None
        self.decided = 0

    def commands(self) -> Sequence[Event]:
        waiting = self.engine.quarantine.waiting if self.engine else ()
        if len(waiting) < self.patience:
            return ()
        bar = waiting[0]
        self.decided += 1
        content = {
            "command": f"bar-{bar.end}", "symbol": bar.key.symbol, "key": str(bar.key), "end": bar.end,
            "values": list(bar.values), "decision": self.decision, "reason": "test",
        }  # fmt: skip
        return (an_event("quarantine", symbol=bar.key.symbol, content=content),)


def operated(
    folder: Path,
    history: History,
    decision: str,
    *,
    patience: int = 3,
    arrivals: Sequence[Arrival] | None = None,
    journal: desks.MemoryJournal | None = None,
    **setup: object,
) -> tuple[desks.MemoryJournal, Operator, Engine]:
    journal, operator = journal or desks.MemoryJournal(), Operator(decision, patience)
    models = {"COMP": desks.model(), "SPX": desks.model("SPX", seed=1)}
    operator.engine = desks.engine(
        folder, models, journal, history, warm=WARM, outside=operator, band=BAND, arrivals=arrivals, **setup
    )
    operator.engine.run()
    return journal, operator, operator.engine


JUMP = 20


def test_accepted_bars_fill_the_windows_and_what_follows_is_decided_as_research_does(tmp_path: Path) -> None:
    """Three bars wait; with the first the other two are there, and the next decision has whole windows."""
    history = moved(desks.history(WARM + SETS), JUMP, 1.5)
    journal, operator, engine = operated(tmp_path, history, ACCEPT)
    assert operator.decided == 1
    assert list(engine.quarantine) == []
    late = [(each.key, each.end) for row in journal.sets for each in row.release.late]
    ends = history.bars[COMP].end[WARM + JUMP :].tolist()
    assert late == [(COMP, end) for end in ends[:3]]
    model = desks.model()
    result = run_backtest(
        model.config, history, "COMP", span=desks.span_after(history, COMP, WARM), veto=model.veto
    )
    research = {step.stamp: step.vector for step in steps_of(result)}
    live = {
        row.release.stamp: lane.vector for row in journal.sets for lane in row.lanes if lane.symbol == "COMP"
    }
    assert sorted(research.keys() - live.keys()) == ends[:3]
    assert {stamp: vector for stamp, vector in research.items() if stamp in live} == live


def test_without_a_decision_nothing_is_traded_at_the_new_level(tmp_path: Path) -> None:
    history = moved(desks.history(WARM + SETS), JUMP, 1.5)
    journal, _, engine = operated(tmp_path, history, ACCEPT, patience=10**9)
    assert [COMP in row.release.bars for row in journal.sets] == [True] * JUMP + [False] * (SETS - JUMP)
    assert len(engine.quarantine.waiting) == SETS - JUMP
    assert all(lane.symbol == "SPX" for row in journal.sets[JUMP:] for lane in row.lanes)


def test_rejected_bars_stay_out(tmp_path: Path) -> None:
    history = desks.history(WARM + SETS)
    arrivals = spoilt(history, COMP, (20, 21, 22, 40), ABSURD["factor 10"])
    journal, operator, _ = operated(tmp_path, history, REJECT, patience=1, arrivals=arrivals)
    without = run(tmp_path, history, spoilt(history, COMP, (20, 21, 22, 40), None))
    assert operator.decided == 4
    assert lanes(journal.sets) == lanes(without.sets)
    assert not any(row.release.late for row in journal.sets)


@pytest.mark.parametrize("patience", [1, 3])
def test_restarted_at_every_bar_the_quarantine_and_the_reference_are_the_same(
    tmp_path: Path, patience: int
) -> None:
    history = moved(desks.history(WARM + 30), JUMP, 1.5)
    whole, _, _ = operated(tmp_path, history, ACCEPT, patience=patience)
    pieces = desks.MemoryJournal()
    while len(pieces.sets) < len(whole.sets):
        operated(tmp_path, history, ACCEPT, patience=patience, journal=pieces, stop_after=1)
    assert lanes(pieces.sets) == lanes(whole.sets)
    decisions = [
        [content_of(event) for event in each.events if event.kind == "quarantine"] for each in (whole, pieces)
    ]
    assert decisions[0] == decisions[1] != []
    assert any(row.release.late for row in whole.sets)


def test_a_decision_that_was_journaled_and_not_carried_out_is_carried_out_after_a_restart(
    tmp_path: Path,
) -> None:
    """Killed between the event and the set that brings the bar."""
    history = moved(desks.history(WARM + 40), JUMP, 1.5)
    whole, _, _ = operated(tmp_path, history, ACCEPT)
    at = next(n for n, row in enumerate(whole.rows) if isinstance(row, Event) and row.kind == "quarantine")
    pieces = desks.MemoryJournal(rows=list(whole.rows[: at + 1]))
    _, operator, _ = operated(tmp_path, history, ACCEPT, journal=pieces)
    assert operator.decided == 0
    assert lanes(pieces.sets) == lanes(whole.sets)


@pytest.mark.parametrize("change", [{"end": 1}, {"values": (1.0,) * 5}, {"key": "ES"}, {"key": "ES:1d"}])
def test_a_decision_about_what_does_not_wait_is_a_bad_command(
    tmp_path: Path, change: dict[str, object]
) -> None:
    class Confused(Operator):
        def commands(self) -> Sequence[Event]:
            return [replace(each, **change) for each in super().commands()][: self.decided == 1]

    history = moved(desks.history(WARM + 30), JUMP, 1.5)
    journal, confused = desks.MemoryJournal(), Confused(ACCEPT, 2)
    confused.engine = desks.engine(
        tmp_path, {"COMP": desks.model()}, journal, history, warm=WARM, outside=confused, band=BAND
    )
    confused.engine.run()
    (bad,) = [event for event in journal.events if event.kind == "bad_command"]
    assert bad.error
    assert not any(row.release.late for row in journal.sets)


# ---- positions


def held_and_blind(folder: Path) -> tuple[History, int, list[Arrival]]:
    """Return bars, a row at whose close COMP is held without an order, and arrivals, absurd after it."""
    history = desks.history(WARM + SETS)
    states = [
        lane.state for row in run(folder, history, None).sets for lane in row.lanes if lane.symbol == "COMP"
    ]
    held = next(n for n, state in enumerate(states) if state.account[POSITION] and not state.waiting)
    blind = range(held + 1, held + 4)
    return history, held, spoilt(history, COMP, blind, ABSURD["factor 10"])


def of_comp(sets: Sequence[SetRecord]) -> dict[int, LaneRecord]:
    return {n: lane for n, row in enumerate(sets) for lane in row.lanes if lane.symbol == "COMP"}


class Halting(desks.FakeOutside):
    """HALT is on from a set on; before that one reports the fills of whatever was acknowledged."""

    def __init__(self, journal: desks.MemoryJournal, since: int) -> None:
        super().__init__()
        self._journal, self._since = journal, since

    def halted(self) -> str | None:
        return "test" if len(self._journal.sets) > self._since else None


def halted(
    folder: Path,
    journal: desks.MemoryJournal,
    held: int,
    history: History,
    arrivals: list[Arrival],
    **setup: object,
) -> None:
    models = {"COMP": desks.model(), "SPX": desks.model("SPX", seed=1)}
    desks.engine(
        folder, models, journal, history, warm=WARM, arrivals=arrivals, band=BAND, flatten=True,
        outside=Halting(journal, held + 1), **setup,
    ).run()  # fmt: skip


def test_a_halt_that_flattens_does_not_wait_for_a_plausible_bar(tmp_path: Path) -> None:
    """Its exit is sent while bars are quarantined, and on paper filled by the first one that passes."""
    history, held, arrivals = held_and_blind(tmp_path)
    whole = desks.MemoryJournal()
    halted(tmp_path, whole, held, history, arrivals)
    comp = of_comp(whole.sets)
    assert sorted(comp)[held : held + 2] == [held, held + 4]
    (left,) = [event for event in whole.events if event.kind == "leave_now"]
    first = comp[held + 4]
    (exit_order,) = [order for order in first.orders if order.status == "completed"]
    assert (exit_order.intent, exit_order.reason) == ("exit", "halt")
    assert exit_order.decision == left.decision == history.bars[COMP].end[WARM + held + 1]
    assert exit_order.quantity == left.quantity
    assert first.state.account[POSITION] == 0
    at = next(n for n, row in enumerate(whole.rows) if row is whole.sets[held])
    pieces = desks.MemoryJournal(rows=list(whole.rows[:at]))
    while len(pieces.sets) < held + 7:
        halted(tmp_path, pieces, held, history, arrivals, stop_after=1)
    assert lanes(pieces.sets) == lanes(whole.sets[: held + 7])
    assert [content_of(each) for each in pieces.events if each.kind == "leave_now"] == [content_of(left)]


class Dead(desks.Undisturbed):
    """A live source whose feed of COMP is found dead after some sets."""

    def __init__(self, journal: desks.MemoryJournal, since: int, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._journal, self._dead_since = journal, since

    def reports(self) -> tuple[Irregularity, ...]:
        if len(self._journal.sets) != self._dead_since:
            return super().reports()
        self._dead_since = -1
        end = self._journal.sets[-1].release.stamp
        return (Irregularity("silent", COMP, end, None, "no bar since"),)


def test_a_halt_that_flattens_does_not_wait_for_a_dead_feed(tmp_path: Path) -> None:
    history, held, _ = held_and_blind(tmp_path)
    journal, rows = desks.MemoryJournal(), range(held + 1, SETS)
    table = Timetable({key: history.markets[key.symbol].session for key in history.bars})

    def synchronise(known: Known) -> Synchroniser:
        return Synchroniser(table, grace_ns=0, traded=frozenset({COMP, SPX}), known=known)

    feed = ReplayFeed(spoilt(history, COMP, rows, None), history.bars)
    halted(tmp_path, journal, held, history, [], feeds=Dead(journal, held + 3, [feed], synchronise))
    (left,) = [event for event in journal.events if event.kind == "leave_now"]
    assert left.decision == journal.sets[held + 2].release.stamp
    assert max(of_comp(journal.sets)) == held


class Sent(papers.Broker):
    """Acknowledges everything and keeps the ids."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def submit(self, intent: OrderIntent, message: Any) -> None:
        self.sent.append(intent.order_id)
        super().submit(intent, message)


class Reporting(desks.FakeOutside):
    """Reports each fill of COMP; with `stop` sets in the journal, that the stop at the broker filled."""

    def __init__(self, journal: desks.MemoryJournal, stop: int = 10**9, halt: int = 10**9) -> None:
        super().__init__()
        self._journal, self._stop, self._halt = journal, stop, halt
        self._seen = {event.fill_id for event in journal.events if event.kind == "fill"}

    def halted(self) -> str | None:
        return "test" if len(self._journal.sets) >= self._halt else None

    def commands(self) -> list[Event]:
        events = [event for event in self._journal.events if event.symbol == "COMP"]
        sends = {event.order_id: event.message for event in events if event.kind == "send"}
        taken = [event.order_id for event in events if event.kind == "acknowledged"]
        found = [self._fill(each, each, "market", sends[each]["quantity"]) for each in taken]
        if len(self._journal.sets) >= self._stop:
            fills = [event for event in events if event.kind == "fill"]
            entry = [event for event in fills if "-entry-" in event.order_id][-1]
            found.append(self._fill("stop", entry.order_id, "stop", -entry.quantity))
        found = [event for event in found if event.fill_id not in self._seen]
        self._seen |= {event.fill_id for event in found}
        return found

    def _fill(self, fill_id: str, order_id: str, order: str, quantity: float) -> Event:
        content = {
            "command": fill_id, "fill_id": fill_id, "order_id": order_id, "symbol": "COMP", "order": order,
            "quantity": quantity, "price": 2_000.0, "commission": 2.5, "stamp": 0,
        }  # fmt: skip
        return an_event("fill", symbol="COMP", content=content)


def live(
    folder: Path,
    journal: desks.MemoryJournal,
    broker: Sent,
    blind: Sequence[int],
    outside: Reporting,
    **setup: Any,
) -> None:
    """Run a desk of two instruments in mode live, on bars some of which are absurd."""
    history = desks.history(WARM + 40)
    models = {"COMP": desks.model(threshold=0.0), "SPX": desks.model("SPX", seed=1, threshold=0.0)}
    arrivals = spoilt(history, COMP, blind, ABSURD["factor 10"])
    epoch = desks.first_epoch(models, history, WARM, mode="live")
    desks.engine(
        folder, models, journal, history, warm=WARM, arrivals=arrivals, band=BAND, epoch=epoch, broker=broker,
        outside=outside, expire=10**18, **setup,
    ).run()  # fmt: skip


def completed(sets: Sequence[SetRecord]) -> list[tuple[int, str]]:
    return [
        (n, order.intent)
        for n, lane in of_comp(sets).items()
        for order in lane.orders
        if order.status == "completed"
    ]


def first_held(folder: Path) -> tuple[int, int]:
    """Return the sets in which an entry was filled, and at whose close it is held without an order."""
    journal = desks.MemoryJournal()
    live(folder, journal, Sent(), (), Reporting(journal))
    held = next(
        n
        for n, lane in of_comp(journal.sets).items()
        if lane.state.account[POSITION] and not lane.state.waiting
    )
    return next(n for n, intent in completed(journal.sets) if intent == "entry"), held


@pytest.mark.parametrize("order", ["entry", "stop"])
def test_a_fill_that_is_reported_while_bars_are_quarantined_is_booked(tmp_path: Path, order: str) -> None:
    """The engine stopped: the other instrument's bar came, and an order had no decision to go with.

    A stop that rests at the broker fills whether or not we see a bar.
    """
    entered, held = first_held(tmp_path)
    first = entered if order == "entry" else held + 1
    blind, journal = range(first, first + 3), desks.MemoryJournal()
    stop = held + 2 if order == "stop" else 10**9
    live(tmp_path, journal, Sent(), blind, Reporting(journal, stop), stop_after=first + 4)
    comp = of_comp(journal.sets)
    assert sorted(comp)[first : first + 1] == [first + 3]
    assert (first + 3, order) in completed(journal.sets)
    assert bool(comp[first + 3].state.account[POSITION]) == (order == "entry")
    before = lanes(journal.sets)
    live(tmp_path, journal, Sent(), blind, Reporting(journal, stop), stop_after=1)
    assert lanes(journal.sets)[: len(before)] == before, "a restart replays it"


def test_in_mode_live_the_exit_leaves_once_and_its_fill_can_be_reported(tmp_path: Path) -> None:
    """The exit leaves at the next open, when no bar has passed; a restart sends nothing again."""
    _, held = first_held(tmp_path)
    blind, journal, broker = range(held + 1, held + 4), desks.MemoryJournal(), Sent()
    live(
        tmp_path, journal, broker, blind, Reporting(journal, halt=held + 2), flatten=True, stop_after=held + 4
    )
    sent = [order_id for order_id in broker.sent if symbol_of(order_id) == "COMP"]
    assert sent[-1].split("-")[-2] == "exit"
    comp = of_comp(journal.sets)
    assert max(comp) == held, "no bar has passed since"
    at = next(n for n, row in enumerate(journal.rows) if row is journal.sets[held])
    since = [event for event in journal.rows[at:] if isinstance(event, Event)]
    assert [event.quantity for event in since if event.kind == "fill"] == [
        -comp[held].state.account[POSITION]
    ]
    assert Standing.of("COMP", comp[held].state, since).position == 0, "as the operator's commands see it"
    again = Sent()
    live(tmp_path, journal, again, blind, Reporting(journal, halt=held + 2), flatten=True, stop_after=2)
    assert sent[-1] not in again.sent
    assert (held + 4, "exit") in completed(journal.sets)


class Unjudged(Synchroniser):
    """PARITY 39, the mutant: whatever breaks no rule of bars is released."""

    def _fault(self, *_: object) -> str:
        return ""


def test_mutant_an_engine_that_does_not_judge_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desks, "Synchroniser", Unjudged)
    with pytest.raises(AssertionError):
        test_an_absurd_bar_is_as_if_it_had_not_come("high 1e308", tmp_path)
