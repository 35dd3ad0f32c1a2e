"""Bars come in: which symbols have them, and what open candidates read is seen for good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lockstep.errors import LockstepError
from operations.candidates import observe_files, observe_journal
from operations.nightly.context import NightContext, NightStep, write_json
from research.ledger.candidates import ForwardCandidate
from research.pipeline.graph import Inputs


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: the bars as they were found, and the journal."""
    config = context.config
    return [
        context.night,
        {name: asdict(each) for name, each in context.world.symbols.items()},
        context.world.journal,
        str(config.data_dir), config.source,
    ]  # fmt: skip


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """See the new bars of every open candidate, and write down what there is of each symbol."""
    world = context.world
    troubles = [*world.refusals, *_seen(context)]
    symbols = {name: asdict(each) for name, each in world.symbols.items()}
    write_json(folder, "ingest", {
        "symbols": symbols, "usable": world.usable, "journal": world.journal, "troubles": troubles,
    })  # fmt: skip
    return f"bars of {', '.join(world.usable)} up to {context.night}"


def _seen(context: NightContext) -> Iterator[str]:
    """See bars, those of the live engine first; yield why those of a candidate could not be."""
    config, now = context.config, context.now()
    waiting = [each for each in context.candidates() if not each.ended]
    if config.journal is not None:
        try:
            observe_journal(context.lab.ledger, waiting, config.journal, now=now)
        except LockstepError as error:
            yield f"its bars were not seen first: {error}"
        if config.data_dir is None:
            return
    for each in _readable(context, waiting):
        try:
            observe_files(context.lab.ledger, [each], config.data_dir, config.source, now=now)
        except LockstepError as error:
            yield f"candidate {each.name}: {error}"


def _readable(context: NightContext, waiting: Sequence[ForwardCandidate]) -> list[ForwardCandidate]:
    refused = set(context.world.symbols) - set(context.world.usable)
    return [each for each in waiting if each.symbol not in refused]


STEP: NightStep = NightStep(name="ingest", module=__name__, ingredients=ingredients, work=work)
