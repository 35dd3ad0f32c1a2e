"""Researchers that would use what will judge them; each tells in its rationale what it could see of that.

They are named as anybody's own: `lockstep agents session --researcher support.agent_cheats:Thief`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from lockstep.features.feature_registry import default_registry
from lockstep.market.loader import load_history
from lockstep.market.reading import files
from research.agents.proposal import Proposal, ResearchContext
from support.explorers import IDS, Dice

_DATE = re.compile(r"\b(19|20)\d\d-\d\d(-\d\d)?\b")


@dataclass(frozen=True, kw_only=True)
class Honest(Dice):
    """Draws, as everybody here does who finds nothing; until: last day of training, ISO."""

    until: str = ""


@dataclass(frozen=True, kw_only=True)
class Snoop(Honest):
    """Looks through the whole context for dates, and for anything that holds bars or can load them."""

    def propose(self, context: ResearchContext) -> Proposal:
        """Return an honest proposal, unless there is something to be used."""
        found, seen = super().propose(context), sorted(set(told(context)))
        return replace(found, rationale=f"saw {', '.join(seen)}") if seen else found


@dataclass(frozen=True, kw_only=True)
class Thief(Honest):
    """Loads the bars itself, and takes the threshold that earned most on those after the training range."""

    def propose(self, context: ResearchContext) -> Proposal:
        """Return the best threshold by later bars; an honest proposal where there are none."""
        honest = super().propose(context)
        history = load_history("COMP")
        (bars,) = (bars for key, bars in history.bars.items() if key.symbol == "COMP")
        session = history.markets["COMP"].session
        later = session.dates(bars.end, bars.timeframe) > np.datetime64(self.until)
        if not later.any():
            return honest
        matrix = default_registry().matrix(sorted(IDS), bars, history=history)
        gain = np.append(np.diff(np.log(bars.close)), 0.0)
        name = sorted(IDS)[context.number % len(IDS)]
        value = matrix[name].to_numpy()
        bounds = [float(f"{each:.2g}") for each in np.nanquantile(value, np.arange(0.1, 1.0, 0.1))]
        earned = {bound: float(gain[later & (value < bound)].sum()) for bound in bounds}
        best = max(earned, key=lambda bound: earned[bound])
        return replace(
            honest, spec={"long_entry": {"id": name, "below": best}, "max_bars": 1},
            rationale=f"saw {int(later.sum())} bars",
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Burglar(Thief):
    """Takes the cut away first: the planted fault, by which one sees that a thief would be noticed."""

    def propose(self, context: ResearchContext) -> Proposal:
        """Return a thief's proposal."""
        files.reached = lambda bars, session: bars  # type: ignore[attr-defined]
        return super().propose(context)


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
