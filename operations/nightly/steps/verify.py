"""The best of the night again, in Backtrader, and what is to be believed of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep.errors import ExperimentError
from operations.nightly.context import NightContext, NightStep, read_json, write_json
from research.backtest.folder import finite
from research.experiments.declaration import weakest
from research.experiments.service import judged, verified_ranking
from research.experiments.store import Record
from research.experiments.why import verdict_on
from research.ledger.tables import FINISHED, UNSUCCESSFUL
from research.pipeline.graph import Inputs


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: nothing but the experiments that `sweep` names."""
    return [each["name"] for each in read_json(read, "sweep")["experiments"]]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """End every search of the night and write down its best variant and the verdict on it."""
    ended = [_concluded(context, each["experiment"]) for each in read_json(read, "sweep")["experiments"]]
    # Judged when all have ended: each counts the others' trials.
    found = [_result(context, record, reason) for record, reason in ended]
    write_json(folder, "verify", {"results": found})
    winners = sum(each["variant"] is not None for each in found)
    return f"{winners} winners of {len(found)} searches are the same in Backtrader"


def _concluded(context: NightContext, number: int) -> tuple[Record, str]:
    """Return a search that has ended, and why it has no result; empty where it has one."""
    record = context.lab.store.record(number)
    if record.status == FINISHED:
        return record, ""
    try:
        return context.lab.conclude(number), ""
    except ExperimentError as error:
        record = context.lab.store.record(number)
        if record.status != UNSUCCESSFUL:
            raise
        return record, str(error)


def _result(context: NightContext, record: Record, reason: str) -> dict[str, Any]:
    about = {"experiment": record.id, "name": record.name, "symbol": record.plan.symbols[0]}
    if reason:
        return {**about, "variant": None, "verdict": reason}
    return {**about, **_winner(context, record)}


def _winner(context: NightContext, record: Record) -> dict[str, Any]:
    lab = context.lab
    best = verified_ranking(lab, record, top=1)[0]
    found = judged(lab, record, best)
    verdict = verdict_on(record, found)
    derived = weakest({each.symbol: each.searched for each in found.symbols})
    config = record.plan.space.variant(best.variant).config
    assert config is not None
    return {
        "variant": best.variant, "parameters": best.parameters, "hash": config.config_hash,
        "searched": derived.kind, "why": derived.reason, "trials": found.evidence.trials,
        "unevaluated": derived.unevaluated,
        **finite({
            "train_sharpe": found.evidence.train_sharpe, "test_sharpe": best.figure("sharpe"),
            "trades": best.figure("trades"), "p_value": found.evidence.p_value,
        }),
        "word": verdict.word, "verdict": verdict.reason,
    }  # fmt: skip


STEP: NightStep = NightStep(
    name="verify", module=__name__, needs=("sweep",), ingredients=ingredients, work=work
)
