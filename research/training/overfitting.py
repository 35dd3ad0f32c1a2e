"""How much of the result the search itself explains: PBO over its steps, and the deflated Sharpe ratio."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lockstep.metrics import Floats, sharpe
from research.backtest.account import Account
from research.statistics.pbo import BlockMoments, Overfitting, overfitting
from research.statistics.sharpe import SharpeSample, expected_maximum
from research.statistics.trials import EffectiveTrials, effective_trials_of_returns
from research.training.outcome import SearchStep, TrainingOutcome

_BLOCKS = 16
_LEAST_BLOCKS = 4
_LEAST_SAMPLES_PER_BLOCK = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Deflation:
    """The out-of-sample Sharpe ratio after all trials.

    sample       the filtered strategy's session returns over the outer walk-forward
    trials       evaluations that the ledger counts for the family over these dates
    independent  effective number of them: the final search's steps by their correlation, all others in full
    chance       annual Sharpe ratio that the best of as many trials without skill is expected to reach
    dsr          probability of skill, [0, 1]; nan where the account never moved
    """

    sample: SharpeSample
    trials: int
    independent: float
    chance: float
    dsr: float


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


def deflation(outcome: TrainingOutcome, filtered: Account, *, trials: int) -> Deflation:
    """Deflate the Sharpe ratio of the `filtered` account by the ledger's `trials`.

    The steps' ratios per sample become ratios per session by the square root of samples per session, as for
    returns that do not depend on one another.
    """
    returns = step_returns(outcome)
    effective = effective_trials_of_returns(returns)
    earlier = float(max(0, trials - returns.shape[1]))
    ratios = _per_session(returns, outcome, filtered)
    sample = SharpeSample.of(filtered.returns)
    return Deflation(
        sample=sample,
        trials=trials,
        independent=effective.number + earlier,
        chance=_chance(effective, ratios, sample, earlier) * math.sqrt(filtered.sessions_per_year),
        dsr=effective.deflated(sample, ratios, earlier=earlier),
    )


def _per_session(returns: Floats, outcome: TrainingOutcome, filtered: Account) -> Floats:
    decision = outcome.dataset.decision[outcome.development]
    years = float(decision[-1] - decision[0]) / (365.25 * 86_400e9)
    sessions = max(1.0, years * filtered.sessions_per_year)
    scale = math.sqrt(returns.shape[0] / sessions)
    return np.nan_to_num([sharpe(column) * scale for column in returns.T])


def _chance(effective: EffectiveTrials, ratios: Floats, sample: SharpeSample, earlier: float) -> float:
    variance = max(effective.variance(ratios), 1.0 / (sample.periods - 1))
    return expected_maximum(effective.number + earlier, variance)
