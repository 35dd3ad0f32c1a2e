"""Tonight's sessions of research agents, each in a process that sees no bar after its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep.errors import LockstepError
from operations.nightly.context import NightContext, NightStep, read_json, write_json
from operations.nightly.sessions import book_of, foretold, record_of
from research.agents.database import FROZEN, AgentBook, SessionRecord
from research.agents.engine import ResearchEngine
from research.agents.plan import SessionPlan
from research.pipeline.graph import Inputs


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: nothing but the plans that `candidates` left."""
    return [plan.key for _, plan in planned(read)]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Make each session, or what is missing of it; where one cannot be made, the others are all the same.

    AgentError for the first that was cut or refused: it goes on when the night is resumed.
    """
    book, found, refused = book_of(context), [], list[LockstepError]()
    for about, plan in planned(read):
        try:
            record = _made(book, plan)
        except LockstepError as error:
            refused.append(error)
            continue
        found.append({**about, **_came_to(book, record)})
    if refused:
        raise refused[0]
    write_json(folder, "agents", {"sessions": found})
    if not found:
        return "no session of agents tonight"
    made = ", ".join(f"session {each['session']} on {each['symbol']}" for each in found)
    return f"{made}: {sum(each['trials'] for each in found):,} strategies tried"


def planned(read: Inputs) -> list[tuple[dict[str, Any], SessionPlan]]:
    """Return tonight's sessions: of which space and symbol, and the plan."""
    return [
        ({name: each[name] for name in ("space", "symbol", "number", "of")},
         SessionPlan.model_validate_json(each["plan"]))
        for each in read_json(read, "candidates")["sessions"]
        if each["plan"] is not None
    ]  # fmt: skip


def _made(book: AgentBook, plan: SessionPlan) -> SessionRecord:
    known = record_of(book, plan)
    if known is not None and FROZEN in known.events:
        return known
    return ResearchEngine(settings=plan.settings, book=book).carry_out(plan)


def _came_to(book: AgentBook, record: SessionRecord) -> dict[str, Any]:
    frozen, trials = record.events[FROZEN], book.strategies(record.id)
    return {
        "session": record.id, "researcher": record.plan.settings.researcher,
        "strategies": record.plan.settings.strategies, "trials": frozen["trials"],
        "evaluated": sum(each.trial.status == "evaluated" for each in trials),
        "fitness": frozen["objective"], "ended": frozen["ended"],
    }  # fmt: skip


def foretell(context: NightContext, read: Inputs) -> str:
    """Return what tonight's sessions would be, or are where `candidates` has named them."""
    if "candidates" not in read:
        return "; ".join(foretold(context))
    named = read_json(read, "candidates")["sessions"]
    return "; ".join(each["sentence"] for each in named)


STEP: NightStep = NightStep(
    name="agents",
    module=__name__,
    needs=("candidates",),
    ingredients=ingredients,
    work=work,
    foretell=foretell,
)
