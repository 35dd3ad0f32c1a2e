"""Sessions of research agents that nights make: which one comes next, and how it is found again.

A session is named by what it is asked for. So one that somebody made by hand counts, too, and one that was
cut goes on in whichever night comes next, as long as bars and code are its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from lockstep.errors import AgentError, ConfigError, LockstepError
from operations.agents.asked import planned, require_possible
from operations.nightly.config import AgentSpace
from operations.nightly.context import NightContext
from research.agents.database import FROZEN, AgentBook, SessionRecord
from research.agents.plan import AgentSettings, SessionPlan

PAGES = "agents"
"""Folder of the pages of sessions, among the results of the nights."""


@dataclass(frozen=True, kw_only=True)
class NightSession:
    """The next session of a space on a symbol.

    number   0 for the first; plan: None where all of them are made
    """

    space: AgentSpace
    symbol: str
    number: int
    plan: SessionPlan | None

    @property
    def plain(self) -> dict[str, Any]:
        """It as JSON, with its plan as a text."""
        return {
            "space": self.space.name, "symbol": self.symbol, "number": self.number,
            "of": self.space.sessions, "strategies": self.space.agents.strategies,
            "plan": None if self.plan is None else self.plan.model_dump_json(), "sentence": self.sentence,
        }  # fmt: skip

    @property
    def sentence(self) -> str:
        """What tonight does of it."""
        asked = self.space.agents
        if self.plan is None:
            return f"space {self.space.name}: all {self.space.sessions} sessions on {self.symbol} are made"
        return (
            f"space {self.space.name}: session {self.number + 1} of {self.space.sessions} on {self.symbol}, "
            f"{asked.strategies} strategies by {asked.researcher}"
        )


def book_of(context: NightContext) -> AgentBook:
    """Return the strategy database of the night's ledger."""
    return AgentBook(context.lab.ledger, now=context.now)


def record_of(book: AgentBook, plan: SessionPlan) -> SessionRecord | None:
    """Return the session of a plan, None where it was not begun."""
    return next((each for each in book.sessions() if each.key == plan.key), None)


def next_session(context: NightContext, space: AgentSpace, symbol: str) -> NightSession:
    """Return the next session of a space on a symbol; reads bars, and writes nothing.

    AgentError where the range is too short; DataError or ConfigError without bars.
    """
    book = book_of(context)
    known, end = book.sessions(), space.agents.end
    for number in range(space.sessions):
        asked = space.asked(number, symbol, context.config)
        own = [each for each in known if _is(each.plan.settings, asked)]
        end = end or next((each.plan.settings.end for each in own if each.plan.settings.end), None)
        if any(FROZEN in each.events for each in own):
            continue
        end = end or date.fromisoformat(context.world.symbols[symbol].newest)
        plan = planned(asked.model_copy(update={"end": end}), book, context.lab.book)
        return NightSession(space=space, symbol=symbol, number=number, plan=plan)
    return NightSession(space=space, symbol=symbol, number=space.sessions, plan=None)


def foretold(context: NightContext) -> Iterator[str]:
    """Yield what tonight's sessions would be, a sentence for each; why one could not be made."""
    for space in context.config.explored:
        for symbol in context.world.usable:
            try:
                yield next_session(context, space, symbol).sentence
            except LockstepError as error:
                yield f"space {space.name}: {error}"


def require_researchers(spaces: Sequence[AgentSpace]) -> None:
    """Raise ConfigError or AgentError, naming the space, for a session that its researcher cannot make."""
    for space in spaces:
        try:
            require_possible(space.agents)
        except (AgentError, ConfigError) as error:
            raise type(error)(f"space {space.name}: {error}") from error


def _is(found: AgentSettings, asked: AgentSettings) -> bool:
    """Whether a session is the one that is asked for; without an end, whatever its own is."""
    if asked.end is None:
        found = found.model_copy(update={"end": None})
    # As JSON: a date among the options of a researcher is a text in what is recorded.
    return found.model_dump(mode="json") == asked.model_dump(mode="json")


def said_by_gate(judged: Mapping[str, Any]) -> str:
    """Return what the gate said of a session of `gate`: the verdict in a word, and why."""
    verdict, reason = str(judged["verdict"]), str(judged["reason"])
    return reason if reason.startswith(verdict) else f"{verdict}: {reason}"


def page_of_session(results: Path, number: int) -> Path:
    """Return where the page of a session is."""
    return results / PAGES / f"session-{number}.html"
