"""Sessions of agents in a folder, on a bench that needs no bars: begun, killed, resumed, dumped."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.market.loader import load_history
from research.agents.database import AgentBook, SessionRecord
from research.agents.loop import Bench, Exploration
from research.agents.plan import AgentSettings, SessionPlan
from research.agents.proposal import Researcher
from research.agents.router import KINDS, AgentRouter
from research.agents.session import AgentSession, Freeze
from research.agents.specs import SpecGround
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from support.explorers import Counter, Dice

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TRAIN = DateRange.of("2017-01-03", "2018-06-29")


def settings_of(**changes: Any) -> AgentSettings:
    """Return the settings of a small session."""
    usual = {"symbol": "COMP", "strategies": 9, "kinds": dict.fromkeys(KINDS, 2), "researcher": "random"}
    return AgentSettings.model_validate({**usual, **changes})


def plan_by_hand(**changes: Any) -> SessionPlan:
    """Return a plan on some dates, of no bars in particular."""
    beside = {name: changes.pop(name) for name in ("code", "bars") if name in changes}
    return SessionPlan(
        settings=settings_of(**changes), family="NASDAQ", train=TRAIN,
        validation=DateRange.of("2018-07-02", "2018-09-28"), **{"code": "c1", "bars": "b1", **beside},
    )  # fmt: skip


def book_in(folder: Path) -> AgentBook:
    """Return the strategy database of a folder, at a fixed moment."""
    return AgentBook(Ledger(Database.open(f"sqlite:///{folder / 'agents.db'}")), now=lambda: NOON)


def bars_of_few() -> History:
    """Return the bars that specs are read against."""
    history = load_history("COMP", start=str(TRAIN.start), end=str(TRAIN.end))
    only = {key: bars for key, bars in history.bars.items() if key.symbol == "COMP"}
    return History(bars=only, markets=history.markets)


def session_in(
    book: AgentBook,
    history: History,
    *,
    bench: Bench | None = None,
    researcher: Researcher | None = None,
    freeze: Freeze = lambda spec: {each: f"{each}@v1" for each in spec.models},
    **changes: Any,
) -> AgentSession:
    """Return a session of a strategy database, begun, or gone on with where it is there."""
    record = book.begin(plan_by_hand(**changes))
    meanings, behaviours = book.remembered(record)
    settings = record.plan.settings
    exploration = Exploration(
        researcher=researcher or Dice(again=3),
        router=AgentRouter(kinds=settings.kinds),
        ground=SpecGround(symbol="COMP", terms=settings.terms, history=history),
        bench=bench or Counter(),
        strategies=settings.strategies,
        seed=settings.seed,
        goal=settings.goal,
        earlier=book.earlier(record),
        meanings=meanings,
        behaviours=behaviours,
    )
    return AgentSession(book=book, record=record, exploration=exploration, freeze=freeze)


def made_in(folder: Path, history: History, **changes: Any) -> SessionRecord:
    """Make a session of a folder, or what is missing of it."""
    folder.mkdir(exist_ok=True)
    return session_in(book_in(folder), history, **changes).run()
