"""The search of the night: every variant of tonight's parts, evaluated, counted and stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operations.nightly.context import NightContext, NightStep, read_json, write_json
from research.experiments.evaluation import code_of
from research.experiments.plan import Plan
from research.pipeline.graph import Inputs


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: the bars of each search, and the code that evaluates."""
    found = []
    for plan in plans(read):
        (symbol,) = plan.symbols
        found.append([plan.name, context.lab.data(plan, symbol).hash, code_of(plan)])
    return found


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Begin each search that is not there, or go on with it, up to its last variant."""
    numbers = [_begun(context, plan) for plan in plans(read)]
    records = [context.lab.store.record(number) for number in numbers]
    context.lab.evaluate([each.id for each in records if not each.ended])
    found = [_done(context, number) for number in numbers]
    total = sum(each["variants"] for each in found)
    write_json(folder, "sweep", {"experiments": found})
    if found:
        return f"{total:,} variants evaluated"
    declared = read_json(read, "candidates")["parts"]
    return f"{'every space is used up' if declared else 'no space is declared'}: nothing is searched"


def _begun(context: NightContext, plan: Plan) -> int:
    known = context.experiment(plan)
    return context.lab.begin(plan) if known is None else known.id


def _done(context: NightContext, number: int) -> dict[str, Any]:
    record = context.lab.store.record(number)
    failed = context.lab.store.failed(number)
    return {"name": record.name, "experiment": number, "variants": record.done, "failed": failed}


def plans(read: Inputs) -> list[Plan]:
    """Return tonight's searches."""
    parts = read_json(read, "candidates")["parts"]
    return [Plan.model_validate_json(each["plan"]) for each in parts if each["plan"] is not None]


STEP: NightStep = NightStep(
    name="sweep", module=__name__, needs=("candidates",), ingredients=ingredients, work=work
)
