"""A portfolio in mode live: what an order's fate means for the room that its entry was admitted to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lockstep.live.brokers.protocol import Message
from lockstep.live.events import Event
from lockstep.live.messages import OrderIntent, SendResult, SetRecord
from lockstep.live.portfolio import DeskPortfolio, begun_with
from lockstep.market.config import load_instruments
from lockstep.portfolio.config import PortfolioConfig
from support import desks, papers
from support.events import an_event

WARM, SETS, WEEK = 400, 60, 7 * 24 * 3_600_000_000_000
BOOK = load_instruments()
MODELS = {symbol: desks.model(symbol, threshold=0.0) for symbol in ("COMP", "SPX")}
PORTFOLIO = PortfolioConfig.model_validate(
    {
        "name": "desk", "capital": 200_000.0, "day": "NYSE", "limits": {"max_positions": 1},
        "rank": {"by": "probability"},
        "lanes": [{"symbol": symbol, "version": "production", "units": 1} for symbol in MODELS],
    }
)  # fmt: skip
Outcome = Callable[[str], str]


class Answering(papers.Broker):
    """Says of every order what `outcome` says of its id."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    def submit(self, intent: OrderIntent, message: Message) -> None:
        self.on_result(SendResult(intent.order_id, self.outcome(intent.order_id), "", 1))  # type: ignore[arg-type]


class Operator(desks.FakeOutside):
    """Reports a fill for each acknowledged order, and resolves the UNKNOWN ones after so many sets.

    resolve   the outcome, None: never
    """

    def __init__(self, journal: desks.MemoryJournal, *, resolve: str | None = None, after: int = 0) -> None:
        super().__init__()
        self._journal, self._resolve, self._after = journal, resolve, after
        self._told: set[str] = set()

    def commands(self) -> Sequence[Event]:
        sent = {each.order_id: each for each in self._journal.events if each.kind == "send"}
        found = []
        for each in self._journal.events:
            order_id = getattr(each, "order_id", "")
            if order_id in self._told or each.kind not in ("acknowledged", "unknown"):
                continue
            if each.kind == "unknown":
                if self._resolve is None or len(self._journal.sets) < self._after:
                    continue
                content = {"command": order_id, "order_id": order_id, "outcome": self._resolve, "reason": "x"}
                found.append(an_event("resolved", content=content))
            else:
                found.append(_fill(order_id, sent[order_id].message["quantity"]))
            self._told.add(order_id)
        return found

    def done(self, events: Sequence[Event]) -> None:
        """What was told is known by its id."""


def _fill(order_id: str, quantity: float) -> Event:
    symbol = order_id.split("-")[2]
    content = {
        "command": f"fill-{order_id}", "fill_id": order_id, "order_id": order_id, "symbol": symbol,
        "order": "market", "quantity": quantity, "price": 2_000.0, "commission": 2.5, "stamp": 0,
    }  # fmt: skip
    return an_event("fill", symbol=symbol, content=content)


def lived(
    folder: Path, outcome: Outcome, stops: tuple[int | None, ...] = (None,), **operator: Any
) -> list[SetRecord]:
    bars, journal = desks.history(WARM + SETS), desks.MemoryJournal()
    markets = bars.markets
    epoch = begun_with(desks.first_epoch(MODELS, bars, WARM, mode="live"), PORTFOLIO, MODELS, markets)
    world = Operator(journal, **operator)
    for stop in stops:
        portfolio = DeskPortfolio.of(PORTFOLIO, MODELS, markets, BOOK.session_named("NYSE"), epoch)
        desks.engine(
            folder, MODELS, journal, bars, warm=WARM, epoch=epoch, broker=Answering(outcome), outside=world,
            portfolio=portfolio, stop_after=stop, expire=WEEK,
        ).run()  # fmt: skip
    return journal.sets


def rooms(record: SetRecord) -> dict[str, float]:
    assert record.settled is not None
    return {each.symbol: each.room for each in record.settled.state.lanes if each.room}


def rules(sets: Sequence[SetRecord]) -> Counter[str]:
    return Counter(each.rule for row in sets if row.settled for each in row.settled.proposals)


def admits(record: SetRecord) -> bool:
    return record.settled is not None and any(not each.rule for each in record.settled.proposals)


def first_admitted(sets: Sequence[SetRecord]) -> int:
    return next(number for number, row in enumerate(sets) if admits(row))


def test_filled_orders_take_turns(tmp_path: Path) -> None:
    """Never two positions; each lane is admitted again and again, since exits fill and free the room."""
    sets = lived(tmp_path, lambda order_id: "acknowledged")
    assert all(len(rooms(row)) <= 1 for row in sets)
    admitted = Counter(e.symbol for row in sets if row.settled for e in row.settled.proposals if not e.rule)
    assert min(admitted[symbol] for symbol in MODELS) >= 1
    assert sum(admitted.values()) > 4
    assert rules(sets)["positions"] > 0


def test_an_unknown_order_holds_its_room(tmp_path: Path) -> None:
    """It may stand at the broker: as long as nobody says otherwise nothing else is admitted."""
    sets = lived(tmp_path, lambda order_id: "unknown")
    begun = first_admitted(sets)
    held = rooms(sets[begun])
    assert len(held) == 1
    assert all(rooms(row) == held for row in sets[begun:])
    assert set(rules(sets[begun + 1 :])) == {"positions"}


def test_an_unknown_order_that_was_not_placed_frees_it(tmp_path: Path) -> None:
    sets = lived(tmp_path, lambda order_id: "unknown", resolve="not_placed", after=30)
    begun = first_admitted(sets)
    held = rooms(sets[begun])
    assert all(rooms(row) == held for row in sets[begun:30])
    later = [e for row in sets[30:] if row.settled for e in row.settled.proposals if not e.rule]
    assert later


def test_a_rejected_order_frees_its_room(tmp_path: Path) -> None:
    """It leaves at the next open and is rejected then: the set after that finds the room free."""
    sets = lived(tmp_path, lambda order_id: "rejected")
    admitted = [number for number, row in enumerate(sets) if admits(row)]
    assert len(admitted) > 5
    assert all(rooms(sets[number]) for number in admitted)
    free = [number + 2 for number in admitted if number + 2 < len(sets) and not admits(sets[number + 2])]
    assert len(free) > 2
    assert all(not rooms(sets[number]) or admits(sets[number - 1]) for number in free)
    assert all(lane.state.account[0] == 0.0 for row in sets for lane in row.lanes)


def test_a_restart_finds_the_same_states(tmp_path: Path) -> None:
    """Recorded fills are injected, and every state and answer comes out again."""
    whole = lived(tmp_path, lambda order_id: "acknowledged")
    pieces = lived(tmp_path, lambda order_id: "acknowledged", (20, 15, None))
    assert [repr(row.settled) for row in pieces] == [repr(row.settled) for row in whole]
