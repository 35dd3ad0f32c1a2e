"""What is searched tonight: every grid is declared before its first result, then walked through.

What agents search is not declared. Its next session is named here, with all that decides what becomes of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockstep.errors import LockstepError
from operations.nightly.config import NightlySpace
from operations.nightly.context import NightContext, NightStep, usable, write_json
from operations.nightly.sessions import next_session
from operations.nightly.world import BY
from research.agents.plan import code_of
from research.experiments.declaration import parts_of, space_of
from research.experiments.plan import Plan
from research.pipeline.graph import Inputs

PROPOSER = BY


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: the night, the spaces with their strategies, agents' code."""
    config = context.config
    codes = sorted({code_of(each.agents.researcher) for each in config.explored})
    return [context.night, {each.name: each.digest for each in config.spaces}, codes]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Declare what is not declared yet, all of it before any is evaluated, and name tonight's parts."""
    pairs = [(space, symbol) for space in context.config.declared for symbol in usable(read)]
    for space, symbol in pairs:
        _declare(context, context.plan(space, symbol, name="", skip=0), symbol)
    found = [_part(context, space, symbol) for space, symbol in pairs]
    sessions, troubles = _sessions(context, usable(read))
    write_json(folder, "candidates", {"parts": found, "sessions": sessions, "troubles": troubles})
    tonight = sum(each["variants"] for each in found)
    over = sum(not each["variants"] for each in found)
    sentence = f"{tonight:,} variants of {len(found)} declared spaces; {over or 'none'} of them used up"
    if context.config.explored:
        sentence += f"; {sum(each['plan'] is not None for each in sessions)} sessions of agents"
    return sentence


def _sessions(context: NightContext, symbols: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return tonight's sessions of agents; and why one cannot be made, which stops no other."""
    found, troubles = [], []
    for space in context.config.explored:
        for symbol in symbols:
            try:
                found.append(next_session(context, space, symbol).plain)
            except LockstepError as error:
                troubles.append(f"space {space.name}: {error}")
    return found, troubles


def _declare(context: NightContext, plan: Plan, symbol: str) -> None:
    ledger, family = context.lab.ledger, context.lab.family(symbol)
    space = replace(space_of(plan.whole, symbol), proposer=PROPOSER)
    if all(each.hash != space.hash for each in ledger.spaces(family, plan.split.searched)):
        ledger.declare(space, family, plan.split.searched, now=context.now())


def _part(context: NightContext, space: NightlySpace, symbol: str) -> dict[str, Any]:
    whole = context.plan(space, symbol, name="", skip=0)
    begun, skip = parts_of(context.lab.ledger, whole, symbol, context.lab.family(symbol))
    plan = context.plan(space, symbol, name=mark(space, symbol, begun), skip=skip)
    return {
        "space": space.name, "symbol": symbol, "size": space.size, "before": min(skip, space.size),
        "variants": plan.variants, "plan": plan.model_dump_json() if plan.variants else None,
    }  # fmt: skip


def mark(space: NightlySpace, symbol: str, part: int) -> str:
    """Return the name of the experiment of a part, by which it is found again."""
    return f"night {space.name} {symbol} {part}"


def is_marked(name: str) -> bool:
    """Whether an experiment has a name as nights give them."""
    return re.fullmatch(r"night [a-z][a-z0-9_]* \S+ \d+", name) is not None


STEP: NightStep = NightStep(
    name="candidates", module=__name__, needs=("quality",), ingredients=ingredients, work=work
)
