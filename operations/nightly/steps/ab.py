"""Every A/B test that is running over its new sessions, each counted once; what decides ends the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operations.ab.book import AbTest, ab_tests
from operations.ab.tester import evaluate_all, standing
from operations.nightly.context import NightContext, NightStep, write_json
from research.pipeline.graph import Inputs


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: which tests there are, ended ones included.

    A test that this night ends is among them as before, so the night is the same however often it is begun.
    """
    return [context.night, [each.name for each in ab_tests(context.lab.ledger)]]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Count new sessions and decide; one test that cannot be evaluated stops no other."""
    config, ledger, now = context.config, context.lab.ledger, context.now()
    progress = evaluate_all(
        ledger, now=now, data_dir=config.data_dir, source=config.source, journal=config.journal
    )
    troubles = [f"A/B test {each.test.name}: {each.trouble}" for each in progress if each.trouble]
    found = [_standing(context, each) for each in ab_tests(ledger)]
    write_json(folder, "ab", {"tests": found, "troubles": troubles})
    running = sum(each.ending is None for each in ab_tests(ledger))
    return f"{len(found)} A/B tests, {running} of them running" if found else "there is no A/B test"


def _standing(context: NightContext, test: AbTest) -> dict[str, Any]:
    found = standing(context.lab.ledger, test)
    judged = found.judgement
    last = judged.mean.size - 1
    bounds = [float(each[last]) if last >= 0 else None for each in (judged.mean, judged.low, judged.high)]
    mean, low, high = (None if each is None or abs(each) == float("inf") else each for each in bounds)
    sentence = judged.reason if test.ending is None else test.ending.reason
    return {
        "name": test.name, "symbol": test.terms.symbol, "sessions": int(judged.mean.size), "mean": mean,
        "low": low, "high": high, "verdict": test.status, "sentence": sentence,
    }  # fmt: skip


STEP: NightStep = NightStep(name="ab", module=__name__, needs=("ingest",), ingredients=ingredients, work=work)
