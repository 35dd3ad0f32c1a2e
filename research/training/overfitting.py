"""How much of the result trying explains: the deflated Sharpe ratio, and PBO over a search's steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from lockstep.metrics import Floats
from research.statistics.pbo import BlockMoments, Overfitting, overfitting
from research.statistics.sharpe import SharpeSample, deflated_sharpe, expected_maximum
from research.training.gain import Gain
from research.training.outcome import SearchStep, TrainingOutcome

_BLOCKS = 16
_LEAST_BLOCKS = 4
_LEAST_SAMPLES_PER_BLOCK = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Deflation:
    """A Sharpe ratio after all trials.

    sample       session returns of what is judged
    trials       what the ledger counts against it on the family over these dates
    independent  how many of them are independent
    chance       annual Sharpe ratio that the best of as many trials without skill is expected to reach
    dsr          probability of skill, [0, 1]; nan where nothing varied
    """

    sample: SharpeSample
    trials: int
    independent: float
    chance: float
    dsr: float

    @classmethod
    def of(cls, returns: Floats, per_year: float, *, trials: int, independent: float) -> Self:
        """Deflate the Sharpe ratio of session returns, float64 (s,), s >= 3.

        Ratios of trials without skill vary as those of as many sessions of noise do: 1 / (s - 1).
        """
        sample = SharpeSample.of(returns)
        variance = 1.0 / (sample.periods - 1)
        return cls(
            sample=sample,
            trials=trials,
            independent=independent,
            chance=expected_maximum(independent, variance) * math.sqrt(per_year),
            dsr=deflated_sharpe(sample, trials=independent, variance=variance),
        )


def deflated_gain(gain: Gain, *, trainings: int) -> Deflation:
    """Deflate the Sharpe ratio of a veto's gain by the `trainings` that the ledger counts.

    The outer walk-forward is nested: each window's answers are those of the step that its own search chose
    before it. No step was chosen by them, so that the steps do not deflate them. What could be chosen by them
    is the training, of other features, parameters or seeds, and each counts in full.

    Of the steps themselves no deflated Sharpe ratio is given. The search proposes by what it has seen, so
    that its steps are no trials that were made regardless of their results.
    """
    per_year = gain.filtered.sessions_per_year
    return Deflation.of(gain.returns, per_year, trials=trainings, independent=float(max(1, trainings)))


def step_returns(outcome: TrainingOutcome) -> Floats:
    """Return what each step of the final search would have earned per sample, float64 (n, steps).

    The sample's return where the step's own threshold lets its out-of-fold probability through, else 0.
    """
    returns = outcome.dataset.net_return[outcome.development]
    columns = [returns * (each.probabilities >= each.threshold) for each in finished(outcome)]
    return np.column_stack(columns)


def finished(outcome: TrainingOutcome) -> list[SearchStep]:
    """Return the steps of the final search that were evaluated to the end."""
    return [each for each in outcome.steps if math.isfinite(each.score)]


def search_overfitting(outcome: TrainingOutcome) -> Overfitting | None:
    """Run CSCV over the steps of the final search; None for one step, or too few samples to divide."""
    returns = step_returns(outcome)
    blocks = min(_BLOCKS, returns.shape[0] // _LEAST_SAMPLES_PER_BLOCK // 2 * 2)
    if returns.shape[1] < 2 or blocks < _LEAST_BLOCKS:
        return None
    return overfitting(BlockMoments.of(returns, blocks))
