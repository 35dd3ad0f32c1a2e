"""The steps of a night in their order, and a night from its first look at the bars to its page."""

from __future__ import annotations

from operations.nightly.context import NightContext
from operations.nightly.steps import (
    ab,
    agents,
    candidates,
    decide,
    features,
    forward,
    gate,
    ingest,
    outcomes,
    quality,
    register,
    report,
    retrain,
    store,
    sweep,
    verify,
)
from research.pipeline.graph import Pipeline

STEPS = (
    ingest.STEP, quality.STEP, features.STEP, outcomes.STEP, retrain.STEP, candidates.STEP, sweep.STEP,
    verify.STEP, agents.STEP, gate.STEP, register.STEP, forward.STEP, decide.STEP, ab.STEP, store.STEP,
    report.STEP,
)  # fmt: skip


def pipeline() -> Pipeline[NightContext]:
    """Return the steps as a graph."""
    return Pipeline(STEPS)
