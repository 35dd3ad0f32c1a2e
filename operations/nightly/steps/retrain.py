"""Models whose retraining is due are trained again, as far as it goes tonight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operations.nightly.context import NightContext, NightStep, write_json
from operations.retraining.book import ENDED_BADLY
from operations.retraining.cli import one_machine
from operations.retraining.config import RetrainingConfig
from research.pipeline.graph import Inputs


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: the night, and the desk's retrainings."""
    due = context.config.retraining
    return [context.night, None if due is None else [str(due), context.world.digest]]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Make one pass of the machine, which does nothing twice, and write where every run is."""
    if context.config.retraining is None:
        write_json(folder, "retrain", {"runs": []})
        return "no model is trained again here"
    with one_machine(RetrainingConfig.load(context.config.retraining), lambda line: None) as machine:
        machine.run()
        runs = machine.book.runs()
    found = [{"run": each.id, "symbol": each.symbol, "is": str(each.now)} for each in runs]
    bad = [f"retraining {each.id} of {each.symbol}: {each.now}" for each in runs if each.now in ENDED_BADLY]
    write_json(folder, "retrain", {"runs": found, "troubles": bad})
    active = sum(each.is_active for each in runs)
    return f"{len(runs)} retrainings, {active or 'none'} of them under way"


STEP: NightStep = NightStep(
    name="retrain",
    module=__name__,
    needs=("ingest",),
    after=("outcomes",),
    ingredients=ingredients,
    work=work,
)
