"""Researchers that would use what will judge them, and a session in this process, as `process.py` makes one.

    agent_cheats.py FOLDER RESEARCHER

The plan lies in FOLDER as plan.json, the database beside it. Prints JSON: what was proposed and found, and
what the researcher could see that it should not.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.features.feature_registry import default_registry
from lockstep.market.loader import load_history
from research.agents import process
from research.agents.plan import SessionPlan
from research.agents.proposal import Proposal, ResearchContext, Researcher
from support.agent_sessions import book_in
from support.explorers import IDS, Dice

_DATE = re.compile(r"\b(19|20)\d\d-\d\d(-\d\d)?\b")


@dataclass(frozen=True, kw_only=True)
class Honest(Dice):
    """Draws, as everybody here does who finds nothing."""

    seen: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Snoop(Honest):
    """Looks through the whole context for dates, and for anything that holds bars or can load them."""

    def propose(self, context: ResearchContext) -> Proposal:
        """Return an honest proposal, unless there is something to be used."""
        self.seen.extend(sorted(set(told(context))))
        found = super().propose(context)
        return replace(found, rationale="knows more") if self.seen else found


@dataclass(frozen=True, kw_only=True)
class Thief(Honest):
    """Loads the bars itself, and takes the threshold that earned most on those after the training range."""

    until: date = date.max

    def propose(self, context: ResearchContext) -> Proposal:
        """Return the best threshold by later bars; an honest proposal where there are none."""
        honest = super().propose(context)
        history = load_history("COMP")
        (bars,) = (bars for key, bars in history.bars.items() if key.symbol == "COMP")
        session = history.markets["COMP"].session
        later = session.dates(bars.end, bars.timeframe) > np.datetime64(self.until)
        self.seen.extend([str(int(later.sum()))] if later.any() else [])
        if not later.any():
            return honest
        matrix = default_registry().matrix(sorted(IDS), bars, history=history)
        gain = np.append(np.diff(np.log(bars.close)), 0.0)
        name = sorted(IDS)[context.number % len(IDS)]
        value = matrix[name].to_numpy()
        bounds = [float(f"{each:.2g}") for each in np.nanquantile(value, np.arange(0.1, 1.0, 0.1))]
        earned = {bound: float(gain[later & (value < bound)].sum()) for bound in bounds}
        best = max(earned, key=lambda bound: earned[bound])
        return replace(honest, spec={"long_entry": {"id": name, "below": best}, "max_bars": 1})


def told(value: Any) -> Iterator[str]:
    """Yield what is in a context and has no business there: dates, and what is no plain value."""
    if isinstance(value, str):
        yield from (found.group() for found in _DATE.finditer(value))
    elif isinstance(value, bool | int | float) or value is None:
        return
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from told(name)
            yield from told(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from told(each)
    elif is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from told(getattr(value, each.name))
    elif hasattr(value, "model_dump"):
        yield from told(value.model_dump())
    else:
        yield f"{type(value).__name__} in the context"


def main(folder: Path, name: str) -> dict[str, Any]:
    """Make the session of a folder with a researcher."""
    plan = SessionPlan.model_validate_json((folder / "plan.json").read_text())
    made: dict[str, Honest] = {
        "honest": Honest(), "snoop": Snoop(), "thief": Thief(until=plan.train.end),
    }  # fmt: skip
    researcher: Researcher = made[name]
    book = book_in(folder)
    record = process.explored(book, plan, researcher=researcher)
    found = [
        [each.trial.proposal.spec, repr(each.trial.measures), each.trial.proposal.rationale]
        for each in book.strategies(record.id)
    ]
    return {"found": found, "frozen": record.events["frozen"], "seen": made[name].seen}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
