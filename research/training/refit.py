"""An outer window's model, fitted again: the outcome keeps the windows' answers, not their models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lockstep.metrics import Integers
from research.training.importance import Refit
from research.training.outcome import OuterWindow, TrainingOutcome
from research.training.pipeline import fit_pipeline
from research.training.scheme import embargo_of
from research.training.selection import selected_columns


def refitting(outcome: TrainingOutcome) -> Refit:
    """Return what fits a window's model with the parameters that its search chose, on any labels.

    The whole procedure is repeated, selection of features included; with the labels of the dataset it gives
    the window's own model, bit for bit.
    """
    config, embargo = outcome.config, embargo_of(outcome.config)

    def refit(window: OuterWindow, target: Integers) -> Any:
        labelled = replace(outcome.dataset, target=target)
        samples = labelled.subset(window.train).samples
        columns = selected_columns(
            config.model.feature_selection, samples, seed=outcome.seed, embargo=embargo
        )
        return fit_pipeline(
            config.model, dict(window.parameters), samples, columns, seed=outcome.seed, embargo=embargo
        )

    return refit
