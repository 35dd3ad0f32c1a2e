"""`NightContext`: what the steps of a night are given, and what they ask of it together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from lockstep.files import replace_file
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import strategy_in
from operations.nightly.config import NightlyConfig, NightlySpace
from operations.nightly.world import BY, NightWorld
from research.experiments.execution import Lab
from research.experiments.paths import require_known
from research.experiments.plan import Plan
from research.experiments.store import Record
from research.ledger.candidates import ForwardCandidate, candidates
from research.pipeline.book import BEGUN, FINISHED, NightBook
from research.pipeline.effects import NightEffect, NightEffects
from research.pipeline.graph import Inputs, PipelineStep

REGISTERED, EVENT = "register", "event"

NightStep = PipelineStep["NightContext"]


@dataclass(frozen=True, kw_only=True, eq=False)
class NightContext:
    """One night: its name, what is configured, what was found, and where it works.

    by        who runs it, for the records
    cluster   address of a Dask scheduler whose workers search and train; changes no result
    """

    night: str
    config: NightlyConfig
    world: NightWorld
    lab: Lab
    by: str = BY
    cluster: str | None = None
    now: Callable[[], datetime]
    _strategies: dict[str, StrategyConfig] = field(default_factory=dict)

    @property
    def effects(self) -> NightEffects:
        """What this ledger's nights did to the world."""
        return NightEffects(ledger=self.lab.ledger, now=self.now)

    def strategy(self, space: NightlySpace) -> StrategyConfig:
        """Return what a space varies; ExperimentError where one of its paths leads nowhere."""
        if space.name not in self._strategies:
            found = strategy_in(space.content, space.strategy)
            require_known(space.parameters, found, where=f"space {space.name}")
            self._strategies[space.name] = found
        return self._strategies[space.name]

    def plan(self, space: NightlySpace, symbol: str, *, name: str, skip: int) -> Plan:
        """Return the search of the next combinations of a space on a symbol."""
        return Plan(
            name=name,
            strategy=self.strategy(space),
            symbols=(symbol,),
            parameters=dict(space.parameters),
            split=space.split,
            sample=space.per_night,
            seed=space.seed,
            skip=skip,
            select_by=space.select_by,
            top=space.top,
            data_dir=None if self.config.data_dir is None else str(self.config.data_dir),
            source=self.config.source,
        )

    def experiment(self, plan: Plan) -> Record | None:
        """Return the experiment of a plan, begun this night or before; None where there is none."""
        content = plan.model_dump_json()
        same = (each for each in self.lab.store.named(plan.name) if each.plan.model_dump_json() == content)
        return next(same, None)

    @cached_property
    def nights(self) -> frozenset[str]:
        """This night, and those right before it that were never finished, whose work it does too."""
        book = NightBook(ledger=self.lab.ledger, now=self.now)
        events = [each for each in book.events() if each.kind in (BEGUN, FINISHED)]
        finished = {each.night for each in events if each.kind == FINISHED}
        last = max((each for each in finished if each < self.night), default="")
        begun = {each.night for each in events if last < each.night < self.night}
        return frozenset({self.night} | (begun - finished))

    def candidates(self) -> list[ForwardCandidate]:
        """Return the candidates that were open when the night began, and those that it registered.

        So the answer is the same however often the night is begun again.
        """
        tonight = {each.subject for each in self.tonight(EVENT)}
        return [
            each
            for each in candidates(self.lab.ledger)
            if not each.ended or any(event_subject(each, event.kind) in tonight for event in each.events)
        ]

    def tonight(self, kind: str) -> Iterator[NightEffect]:
        """Yield the effects of a kind that this night wrote down, or one whose work it does."""
        return (each for each in self.effects.all() if each.kind == kind and each.night in self.nights)


def event_subject(candidate: ForwardCandidate, kind: str) -> str:
    """Return what names an event of a candidate among the effects."""
    return f"{candidate.name} {kind}"


def write_json(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    """Write what a step leaves, for the steps after it and for machines; no NaN."""
    text = json.dumps({"schema": 1, **content}, indent=1, sort_keys=True, allow_nan=False)
    replace_file(folder / f"{name}.json", f"{text}\n", durable=False)


def read_json(read: Inputs, step: str) -> dict[str, Any]:
    """Return what a step left in the file of its name; empty where the step did not come to it."""
    if step not in read:
        return {}
    found: dict[str, Any] = json.loads((read[step] / f"{step}.json").read_text(encoding="utf-8"))
    return found


def usable(read: Inputs) -> Sequence[str]:
    """Return the symbols that tonight's bars can be trusted of."""
    found: Sequence[str] = read_json(read, "quality")["usable"]
    return found
