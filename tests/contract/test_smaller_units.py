"""A desk that decides on COMP and sends its tenth: over stages, restarts at every set, stops and parts.

What is decided, booked and journaled are contracts of COMP; only what the broker hears and says is in MCOMP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lockstep.live.brokers.protocol import Message
from lockstep.live.events import Event, FillReported, OrderSent, RolloutMoved
from lockstep.live.journal import Journal
from lockstep.live.messages import OrderIntent, SendResult, SetRecord
from lockstep.live.operator.commands import FillCommand
from lockstep.live.operator.journal_cli import iso
from lockstep.live.operator.orders_cli import app as orders
from lockstep.live.rerun import step_of
from lockstep.live.units import OutwardUnits, SmallerUnit
from research.paper.bands import closed_trades
from support import desks, papers, units
from support.papers import Broker
from support.units import KNOWN, MICRO

WARM, BARS = 400, 60
MODEL = desks.model(threshold=0.0)
SMALL = OutwardUnits(known=KNOWN, stage={"COMP": "MCOMP"})
WHOLE = OutwardUnits(known=KNOWN)
PRICE, COMMISSION = 2_000.0, 0.5


@dataclass
class Venue(Broker):
    """Acknowledges everything, keeps what it was sent, and holds what it has filled, by symbol."""

    sent: list[tuple[str, str, float]] = field(default_factory=list)

    def message(self, intent: OrderIntent) -> Message:
        return {"symbol": intent.symbol, "quantity": intent.quantity}

    def submit(self, intent: OrderIntent, message: Message) -> None:
        assert (intent.symbol, intent.quantity) == (message["symbol"], message["quantity"])
        assert intent.terms[0] == intent.quantity
        self.sent.append((intent.intent, str(message["symbol"]), float(message["quantity"])))
        self.on_result(SendResult(intent.order_id, "acknowledged", "", 1))


class Filling(desks.FakeOutside):
    """An operator who reports each acknowledged order's fill, as the broker calls it, at the next look."""

    def __init__(self, journal: desks.MemoryJournal) -> None:
        super().__init__()
        self.journal = journal

    def commands(self) -> Sequence[Event]:
        sends = {each.order_id: each.message for each in self.journal.events if isinstance(each, OrderSent)}
        known = {
            e.order_id for e in self.journal.events if isinstance(e, FillReported) and e.order == "market"
        }
        told = [fill(order_id, message["symbol"], message["quantity"]) for order_id, message in sends.items()
                if order_id not in known]  # fmt: skip
        return [*self.queue, *told]

    def done(self, events: Sequence[Event]) -> None:
        self.queue = [each for each in self.queue if each not in events]


def fill(order_id: str, symbol: str, quantity: float, **changes: Any) -> FillReported:
    told = FillCommand(
        fill_id=f"{order_id}/{changes.get('order', 'market')}", order_id=order_id, symbol=symbol,
        quantity=quantity, commission=COMMISSION, stamp=0, **{"price": PRICE, **changes},
    )  # fmt: skip
    return told.inside(KNOWN).event("operator")


def moved(units: Mapping[str, str] | None, fraction: float) -> RolloutMoved:
    return RolloutMoved(command="r", stage=2, fraction=fraction, comparison="", reason="planned", units=units)


def run(
    folder: Path,
    journal: desks.MemoryJournal,
    venue: Venue,
    outside: Any = None,
    *,
    units: OutwardUnits = SMALL,
    fraction: float = 0.1,
    mode: str = "live",
    sets: int | None = None,
    **setup: Any,
) -> None:
    """Run an engine over the journal: the process that began it, or the one after a restart."""
    bars, models = desks.history(WARM + BARS), {"COMP": MODEL}
    epoch = desks.first_epoch(models, bars, WARM, mode=mode)
    desks.engine(
        folder, models, journal, bars, warm=WARM, epoch=epoch, broker=venue, outside=outside, expire=10**18,
        units=units, fraction=fraction, stop_after=sets, **setup,
    ).run()  # fmt: skip


def positions(journal: desks.MemoryJournal) -> list[float]:
    return [row.lanes[0].state.account[0] for row in journal.sets]


def decisions(journal: desks.MemoryJournal) -> list[Any]:
    return [
        (row.release.stamp, lane.vector, lane.code, lane.reason) for row in journal.sets for lane in row.lanes
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[desks.MemoryJournal, Venue]:
    """A desk that sends whole contracts of COMP."""
    journal, venue = desks.MemoryJournal(), Venue()
    run(tmp_path_factory.mktemp("whole"), journal, venue, Filling(journal), units=WHOLE, fraction=1.0)
    return journal, venue


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[desks.MemoryJournal, Venue]:
    """The same desk at a stage that sends a tenth, as one MCOMP."""
    journal, venue = desks.MemoryJournal(), Venue()
    run(tmp_path_factory.mktemp("small"), journal, venue, Filling(journal))
    return journal, venue


def test_it_decides_as_the_whole_desk_does_and_sends_the_micro(whole: Any, small: Any) -> None:
    (all_of_it, contracts), (journal, micros) = whole, small
    assert decisions(journal) == decisions(all_of_it)
    assert [(each, "COMP", quantity) for each, _, quantity in micros.sent] == contracts.sent
    assert {symbol for _, symbol, _ in micros.sent} == {"MCOMP"}
    assert {intent for intent, *_ in micros.sent} == {"entry", "exit"}
    assert positions(journal) == [each / 10 for each in positions(all_of_it)]
    assert {0.0, 0.1} <= set(positions(journal)), "flat is 0.0, and a tenth is 0.1, to the bit"
    fills = [each for each in journal.events if isinstance(each, FillReported)]
    assert {(each.symbol, abs(each.quantity), each.unit) for each in fills} == {("COMP", 0.1, "MCOMP")}
    assert {e.unit for e in all_of_it.events if isinstance(e, OrderSent | FillReported)} == {None}


def test_its_account_is_that_of_the_micro(small: Any) -> None:
    """USD: what one MCOMP at 2 USD a point makes, commissions of one MCOMP a side."""
    journal, venue = small
    closed = [row.lanes[0].state for row in journal.sets if row.lanes[0].state.account[0] == 0.0]
    sides = len([each for each in venue.sent if each]) // 2 * 2
    assert closed[-1].account[4] == pytest.approx(MODEL.config.capital - COMMISSION * sides)
    orders = [o for row in journal.sets for o in row.lanes[0].orders if o.status == "completed"]
    assert {order.commission for order in orders} == {COMMISSION}


def test_a_restart_after_every_set_sends_nothing_twice(small: Any, tmp_path: Path) -> None:
    journal, venue = small
    pieces, many = desks.MemoryJournal(), Venue()
    while len(pieces.sets) < len(journal.sets):
        run(tmp_path, pieces, many, Filling(pieces), sets=1)
    assert many.sent == venue.sent
    assert [repr(replace(row, sequence=0)) for row in pieces.sets] == [
        repr(replace(row, sequence=0)) for row in journal.sets
    ]


def opened(journal: desks.MemoryJournal) -> int:
    """Return after how many sets a position is open whose exit is not decided before the next set."""
    states = [row.lanes[0].state for row in journal.sets]
    return next(n for n, each in enumerate(states, start=1) if each.account[0] and each.waiting is None)


@pytest.mark.parametrize(
    ("first", "then"),
    [((SMALL, 0.1), moved(None, 1.0)), ((WHOLE, 1.0), moved({"COMP": "MCOMP"}, 0.1))],
    ids=["from the micro", "to the micro"],
)
@pytest.mark.parametrize("restart", [False, True])
def test_what_is_open_leaves_in_the_unit_of_its_entry(
    first: tuple[OutwardUnits, float], then: RolloutMoved, restart: bool, small: Any, tmp_path: Path
) -> None:
    """A stage moves while a position is open: its exit goes out as it came, a new entry as the stage says."""
    journal, venue, before = desks.MemoryJournal(), Venue(), opened(small[0])
    begins, fraction = first
    outside = Filling(journal)

    def go_on(sets: int | None) -> None:
        run(tmp_path, journal, venue, outside, units=begins, fraction=fraction, sets=sets)

    go_on(before)
    begun = len(venue.sent)
    outside.queue.append(then)
    go_on(1 if restart else None)
    while restart and len(journal.sets) < len(small[0].sets):
        go_on(1)
    old, new = (("MCOMP", 1.0), ("COMP", 1.0)) if begins is SMALL else (("COMP", 1.0), ("MCOMP", 1.0))
    entry, leaving, *later = venue.sent[begun - 1 :]
    assert (entry[0], entry[1], abs(entry[2])) == ("entry", *old)
    assert leaving == ("exit", old[0], -entry[2])
    assert len(venue.sent) == len(small[1].sent)
    assert {(symbol, abs(quantity)) for _, symbol, quantity in later} == {new}
    assert [each for each in journal.events if each.kind == "bad_command"] == []
    told = [each.unit or "COMP" for each in journal.events if isinstance(each, OrderSent)]
    assert told == [symbol for _, symbol, _ in venue.sent]
    sizes = {abs(each) for each in positions(journal)}
    assert sizes == {0.0, 0.1, 1.0}


def test_the_control_an_exit_in_the_unit_of_the_stage_is_no_whole_contract(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_the_stage(self: OutwardUnits, symbol: str, *, opens: bool) -> SmallerUnit | None:
        return self.known.get(self.stage.get(symbol, ""))

    monkeypatch.setattr(OutwardUnits, "of", of_the_stage)
    journal, venue = desks.MemoryJournal(), Venue()
    outside = Filling(journal)
    run(tmp_path, journal, venue, outside, sets=opened(small[0]))
    begun = len(venue.sent)
    outside.queue.append(moved(None, 1.0))
    run(tmp_path, journal, venue, outside)
    assert (venue.sent[begun][0], venue.sent[begun][1], abs(venue.sent[begun][2])) == ("exit", "COMP", 0.1)


@pytest.mark.parametrize("restart", [False, True])
def test_a_stop_of_the_old_unit_closes_what_it_opened(restart: bool, small: Any, tmp_path: Path) -> None:
    journal, venue = desks.MemoryJournal(), Venue()
    outside = Filling(journal)
    run(tmp_path, journal, venue, outside, sets=opened(small[0]))
    held = positions(journal)[-1]
    entry = [each.order_id for each in journal.events if isinstance(each, OrderSent)][-1]
    outside.queue.append(moved(None, 1.0))
    if restart:
        run(tmp_path, journal, venue, outside, sets=0)
    wrong = fill(entry, "COMP", -held, order="stop", price=1_980.0)
    right = fill(entry, "MCOMP", -MICRO.count(held), order="stop", price=1_980.0)
    outside.queue += [wrong, right]
    run(tmp_path, journal, venue, outside, sets=1)
    (refused,) = (each for each in journal.events if each.kind == "bad_command")
    assert "left in contracts of MCOMP, its fill is told in COMP" in refused.error
    assert positions(journal)[-1] == 0.0
    assert [each.intent for each in journal.sets[-1].lanes[0].orders if each.status == "completed"] == [
        "stop"
    ]


def test_a_halt_that_flattens_sends_the_unit_that_is_held(small: Any, tmp_path: Path) -> None:
    journal, venue = desks.MemoryJournal(), Venue()
    outside = Filling(journal)
    run(tmp_path, journal, venue, outside, sets=opened(small[0]))
    (_, unit, held), begun = venue.sent[-1], len(venue.sent)
    outside.queue.append(moved(None, 1.0))
    outside.halt = "an operator's reason"
    run(tmp_path, journal, venue, outside, sets=3, flatten=True)
    assert venue.sent[begun:] == [("exit", unit, -held)]
    assert positions(journal)[-1] == 0.0


def test_a_fill_in_parts_is_what_was_filled(tmp_path: Path) -> None:
    """Half of six ordered: 0.3 of 0.6, and the exit is of 3 MCOMP."""
    journal, venue = desks.MemoryJournal(), Venue()

    class Partly(Filling):
        def commands(self) -> Sequence[Event]:
            found = list(super().commands())
            return [
                replace(each, quantity=each.quantity / 2)
                if isinstance(each, FillReported) and not held()
                else each
                for each in found
            ]

    def held() -> bool:
        return bool(journal.sets and positions(journal)[-1])

    run(tmp_path, journal, venue, Partly(journal), fraction=0.6)
    (entry, leaving, *_) = venue.sent
    assert (abs(entry[2]), abs(leaving[2])) == (6.0, 3.0)
    assert set(map(abs, positions(journal))) == {0.0, 0.3}


def test_shadow_shows_the_message_in_the_unit_and_trades_as_paper_does(tmp_path: Path) -> None:
    shadow, paper, venue = desks.MemoryJournal(), desks.MemoryJournal(), Venue()
    run(tmp_path, shadow, venue, mode="shadow")
    run(tmp_path, paper, Venue(), mode="paper", units=WHOLE, fraction=1.0)
    said = [repr(row.lanes).replace("1-shadow-", "1-paper-") for row in shadow.sets]
    assert said == [repr(row.lanes) for row in paper.sets]
    assert {(symbol, abs(quantity)) for _, symbol, quantity in venue.sent} == {("MCOMP", 10.0)}


def test_an_operator_tells_it_by_hand_from_the_entry_to_its_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process for every set; the desk is told what the broker's screen shows."""
    monkeypatch.setenv("LOCKSTEP_INSTRUMENTS", str(units.declared(tmp_path)))
    (model,) = papers.models(papers.store(tmp_path / "store"))
    config = papers.config(tmp_path, rollout=units.stages(False, True, False))

    def go_on() -> None:
        papers.traded(
            tmp_path, model, name="live.db", mode="live", broker=Venue(), expire=10**18, stop_after=1,
            outside=lambda _: papers.Posted(tmp_path / "mailbox"), units=SMALL, fraction=0.1,
        )  # fmt: skip

    def call(*arguments: object) -> str:
        result = CliRunner().invoke(orders, [*map(str, arguments), "--config", str(config)])
        assert result.exit_code == 0, result.exception
        return result.output

    go_on()
    while "acknowledged" not in call("list"):
        go_on()
    with Journal.open(tmp_path / "live.db", readonly=True) as journal:
        (sent,) = journal.events(OrderSent)
        last = journal.last_set()
    assert last is not None
    assert (sent.symbol, sent.unit, sent.message["symbol"]) == ("COMP", "MCOMP", "MCOMP")
    quantity = sent.message["quantity"]
    told = ("--order-id", sent.order_id, "--symbol", "MCOMP", "--commission", 0.2,
            "--time", iso(last.release.stamp + 1))  # fmt: skip
    assert f"fill of {quantity:+g} MCOMP" in call("fill", *told, "--quantity", quantity, "--price", 2_000)
    go_on()
    assert f"position      COMP {quantity / 10:+g} {quantity:+g} MCOMP stop" in call("list")
    call("fill", *told, "--quantity", -quantity, "--price", 1_980, "--order", "stop")
    go_on()
    assert "position" not in call("list")
    with Journal.open(tmp_path / "live.db", readonly=True) as journal:
        fills = [(each.quantity, each.unit) for each in journal.events(FillReported)]
        last = journal.last_set()
    assert fills == [(quantity / 10, "MCOMP"), (-quantity / 10, "MCOMP")]
    assert last is not None
    lost = quantity * 20.0 * 2.0
    assert last.lanes[0].state.account[:1] == (0.0,)
    assert last.lanes[0].state.account[4] == pytest.approx(model.config.capital - lost - 0.4)
    with Journal.open(tmp_path / "live.db", readonly=True) as journal:
        rows = [each for each in journal.entries(1) if isinstance(each, SetRecord)]
    steps = [step_of(lane, row.release.stamp) for row in rows for lane in row.lanes]
    ((_, gain),) = closed_trades(steps, desks.load_markets()["COMP"].instrument.multiplier)
    assert gain == pytest.approx(-lost - 0.4), "what the strategy log and the comparisons read of it"
