"""An outer window's model, fitted again: the outcome keeps the windows' answers, not their models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lockstep.metrics import Floats, Integers
from research.training.importance import Refit
from research.training.outcome import OuterWindow, TrainingOutcome
from research.training.pipeline import Samples, fit_pipeline
from research.training.scheme import answers_of, embargo_of
from research.training.selection import selected_columns


def refitting(outcome: TrainingOutcome) -> Refit:
    """Return what fits a window's model with the parameters that its search chose, on any labels.

    The whole procedure is repeated, selection of features included; with the labels of the dataset it gives
    the window's own model, bit for bit.
    """
    config, embargo = outcome.config, embargo_of(outcome.config)

    def refit(window: OuterWindow, target: Integers) -> Any:
        samples, columns = _learned(outcome, window, target)
        return fit_pipeline(
            config.model, dict(window.parameters), samples, columns, seed=outcome.seed, embargo=embargo
        )

    return refit


def answers_after(outcome: TrainingOutcome, window: OuterWindow, target: Integers) -> Floats:
    """Return what the window's model would answer its test samples, had it learned other labels, (m,).

    The bits are those of `refitting`, without a model that could be kept.
    """
    config = outcome.config
    samples, columns = _learned(outcome, window, target)
    tested = outcome.dataset.features[window.test]
    parameters, embargo = dict(window.parameters), embargo_of(config)
    return answers_of(config.model, parameters, samples, tested, columns, outcome.seed, embargo)


def _learned(
    outcome: TrainingOutcome, window: OuterWindow, target: Integers
) -> tuple[Samples, tuple[int, ...]]:
    """Return the training samples of a window with labels (n,), and the columns that these choose."""
    samples = replace(outcome.dataset, target=target).subset(window.train).samples
    selection, embargo = outcome.config.model.feature_selection, embargo_of(outcome.config)
    return samples, selected_columns(selection, samples, seed=outcome.seed, embargo=embargo)
