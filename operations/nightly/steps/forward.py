"""Every open candidate over its new sessions, each scored once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep.errors import LockstepError
from operations.candidates import scored
from operations.candidates_log import failing
from operations.contenders import Contender
from operations.nightly.context import NightContext, NightStep, write_json
from research.ledger.candidates import FULL_SIZE, PILOTED, ForwardCandidate, sessions_of
from research.ledger.first_seen import seen_so_far
from research.pipeline.graph import Inputs


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: who is open, what they are, and their bars as first seen."""
    about = [[each.name, each.hash, each.symbol, _reads(context, each)] for each in context.candidates()]
    return [context.night, about]


def _reads(context: NightContext, candidate: ForwardCandidate) -> Any:
    """Return which bars of a candidate were seen, or why it is not what was registered."""
    try:
        keys = Contender.of_candidate(candidate).keys(context.lab.book)
    except LockstepError as error:
        return str(error)
    return seen_so_far(context.lab.ledger, keys)


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Score what is complete; one candidate that cannot be scored stops no other."""
    found, troubles = [], []
    for each in context.candidates():
        try:
            scored(context.lab.ledger, each, now=context.now(), book=context.lab.book)
        except LockstepError as error:
            troubles.append(f"candidate {each.name}: {error}")
        found.append(_standing(context, each))
    write_json(folder, "forward", {"candidates": found, "troubles": troubles})
    sessions = sum(each["sessions"] for each in found)
    return f"{len(found)} candidates have {sessions:,} scored sessions"


def _standing(context: NightContext, candidate: ForwardCandidate) -> dict[str, Any]:
    dates, residuals = sessions_of(context.lab.ledger, candidate)
    path = candidate.evidence(residuals)
    return {
        "name": candidate.name, "symbol": candidate.symbol, "searched": candidate.searched,
        "registered": candidate.recorded[:10], "sessions": int(residuals.size),
        "newest": str(dates[-1]) if dates.size else None, "e_history": candidate.e_history,
        "evidence": float(path[-1]) if path.size else candidate.e_history,
        "pilot": candidate.threshold(PILOTED), "full": candidate.threshold(FULL_SIZE),
        "regimes": failing(candidate), "path": [float(value) for value in path[-250:]],
    }  # fmt: skip


STEP: NightStep = NightStep(
    name="forward",
    module=__name__,
    needs=("ingest",),
    after=("register",),
    ingredients=ingredients,
    work=work,
)
