"""Models whose retraining is due are trained again, as far as it goes tonight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import RetrainingAtWork
from operations.nightly.context import NightContext, NightStep, write_json
from operations.retraining.book import (
    ENDED_BADLY,
    RetrainingBook,
    RetrainingRun,
    ShadowLook,
    awaits_approval,
)
from operations.retraining.cli import one_machine
from operations.retraining.config import RetrainingConfig
from operations.retraining.plan import day_of
from research.pipeline.book import BEGUN, NightBook
from research.pipeline.graph import Inputs

_SHOWN = 10
_NOT_TOLD = "alert not delivered"


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: the night, the desk and retrainings as others left them."""
    due = context.config.retraining
    return [context.night, None if due is None else [str(due), context.world.desk, context.world.retraining]]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Make one pass of the machine, which does nothing twice, and write where every run is."""
    if context.config.retraining is None:
        write_json(folder, "retrain", {"runs": [], "notes": []})
        return "no model is trained again here"
    settings = RetrainingConfig.load(context.config.retraining).on(context.cluster)
    said = list[str]()
    try:
        with one_machine(settings, said.append, now=context.now) as machine:
            machine.run()
    except RetrainingAtWork as busy:
        said.append(f"{busy}; tonight only looks")
    with RetrainingBook.open(settings.database, readonly=True) as book:
        runs, looks = book.runs(), {each.run: each for each in book.looks()}
    # What a step of a run said is in the book, and there whoever takes it.
    notes = [line for line in said if not any(line.startswith(f"{each.id} ") for each in runs)]
    begun = _begun(context)
    bad = [each for each in runs if each.now in ENDED_BADLY and each.steps[-1].time >= begun]
    content = {
        "runs": list(_shown(runs, looks)),
        "notes": [line for line in notes if not line.startswith(_NOT_TOLD)],
        "troubles": [*map(_in_words, bad), *(line for line in notes if line.startswith(_NOT_TOLD))],
    }
    write_json(folder, "retrain", content)
    active = sum(each.is_active for each in runs)
    return f"{len(runs)} retrainings, {active or 'none'} of them under way"


def _in_words(run: RetrainingRun) -> str:
    return f"retraining {run.id} of {run.symbol}: {run.now}: {run.steps[-1].sentence}"


def _begun(context: NightContext) -> int:
    """Return when this night first began, or the one whose work it does, UTC ns."""
    book = NightBook(ledger=context.lab.ledger, now=context.now)
    begun = [each.recorded for each in book.events() if each.kind == BEGUN and each.night in context.nights]
    first = min(begun, default=context.now().isoformat(timespec="seconds"))
    return int(np.datetime64(first.removesuffix("+00:00"), "ns").astype(np.int64))


def _shown(runs: Sequence[RetrainingRun], looks: Mapping[str, ShadowLook]) -> Sequence[dict[str, Any]]:
    """Return the runs that are under way and the newest others, newest first."""
    newest = sorted(runs, key=lambda each: each.steps[0].number, reverse=True)
    chosen = [each for place, each in enumerate(newest) if each.is_active or place < _SHOWN]
    return [
        {
            "run": each.id, "symbol": each.symbol, "is": str(each.now),
            "began": str(day_of(each.steps[0].desk)), "from": each.output("champion"),
            "to": each.output("version"), "sentence": each.steps[-1].sentence,
            "why": each.steps[0].sentence, "waits": awaits_approval(each, looks.get(each.id)),
        }
        for each in chosen
    ]  # fmt: skip


STEP: NightStep = NightStep(
    name="retrain",
    module=__name__,
    needs=("ingest",),
    after=("outcomes",),
    ingredients=ingredients,
    work=work,
)
