"""The gate of tonight's sessions of agents: is the winner more than such a session finds where nothing is?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockstep.errors import AgentError
from operations.agents.registration import candidate_of
from operations.nightly.context import NightContext, NightStep, read_json, write_json
from operations.nightly.sessions import book_of, said_by_gate
from research.agents.database import FROZEN, AgentBook, SessionRecord
from research.agents.gate import REFUSED, SessionVerdict, judge
from research.pipeline.graph import Inputs


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: how often each session is run again."""
    return {each.name: each.replays for each in context.config.explored}


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Judge each winner, once; a session that cannot be judged stops no other."""
    book, found, troubles, notes = book_of(context), [], list[str](), list[str]()
    replays = {each.name: each.replays for each in context.config.explored}
    for each in read_json(read, "agents")["sessions"]:
        record = book.session(each["session"])
        try:
            found.append({**each, **_judged(book, record, replays[each["space"]], notes)})
        except AgentError as error:
            troubles.append(str(error))
            found.append({**each, "verdict": "not judged", "reason": str(error), "hash": None})
    write_json(folder, "gate", {"sessions": found, "notes": notes, "troubles": troubles})
    if not found:
        return "no session of agents is to be judged"
    return "; ".join(f"session {each['session']}: {said_by_gate(each)}" for each in found)


def _judged(book: AgentBook, record: SessionRecord, replays: int, notes: list[str]) -> Mapping[str, Any]:
    if not record.events[FROZEN]["winners"]:
        return {
            "verdict": REFUSED, "hash": None,
            "reason": "nothing of it can win: no strategy has enough trades in enough folds",
        }  # fmt: skip
    said: SessionVerdict = judge(book, record.id, replays=replays, tell=notes.append)
    candidate = candidate_of(book.session(record.id))
    return {
        "verdict": said.verdict, "reason": said.reason, "p_value": said.p_value, "winner": said.winner,
        "trades": said.validation.get("trades"), "sharpe": said.validation.get("sharpe"),
        "name": candidate.name, "hash": candidate.config_hash,
    }  # fmt: skip


STEP: NightStep = NightStep(
    name="gate", module=__name__, needs=("agents",), ingredients=ingredients, work=work
)
