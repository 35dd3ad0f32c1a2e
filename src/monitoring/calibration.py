"""How good a model's probabilities were: Brier score, log loss, AUC, hit rate, reliability.

Scores are those of scikit-learn, imported on first use. Signals come by time, since intervals resample
blocks of neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.errors import ConfigError, DataError
from lockstep.metrics.arrays import Floats, Integers
from lockstep.monitoring.readings import outcomes, probabilities
from lockstep.monitoring.resampling import block_length, block_rows

LEAST_IN_BIN, MOST_BINS = 50, 10
_RESAMPLES = 2_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Reliability:
    """Predicted against observed wins in b bins of at least 50 signals, by rising probability; b may be 0.

    predicted, observed   float64 (b,): mean probability, share of wins
    low, high             float64 (b,): 95 % bootstrap interval of `observed`
    count                 int64 (b,): signals
    brier                 score of all signals, in a bin or not, [0, 1]; NaN without one
    """

    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats
    count: Integers
    brier: float = math.nan


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbabilityScores:
    """Scores of n signals.

    brier      mean of (p - y)^2, [0, 1]; log_loss   >= 0, finite: 0 and 1 count as the nearest other number
    auc        chance that a win has the higher probability, [0, 1]; nan where all outcomes are of one class
    hit_rate   share of wins; reference_hit_rate   that of validation, nan where there is no reference
    signals, wins   how many
    """

    brier: float
    log_loss: float
    auc: float
    hit_rate: float
    reference_hit_rate: float
    signals: int
    wins: int


def probability_scores(
    probability: Any, won: Any, *, reference_hit_rate: float = math.nan
) -> ProbabilityScores:
    """Return the scores of probabilities (n,) in [0, 1] against outcomes (n,) of 0 and 1.

    DataError for none, a missing or impossible probability, or another outcome. Brier (1950), Verification of
    forecasts expressed in terms of probability, Monthly Weather Review 78, 1-3; Hanley and McNeil (1982), The
    meaning and use of the area under a ROC curve, Radiology 143, 29-36.

    >>> found = probability_scores([0.5, 1.0, 0.0], [1, 1, 0])
    >>> round(found.brier, 4), found.auc, found.hit_rate
    (0.0833, 1.0, 0.6666666666666666)
    >>> probability_scores([0.5, 0.9], [1, 1]).auc
    nan
    """
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    chance, target = _pairs(probability, won)
    both = bool(np.ptp(target) > 0)
    return ProbabilityScores(
        brier=float(brier_score_loss(target, chance, labels=[0, 1], pos_label=1)),
        log_loss=float(log_loss(target, chance, labels=[0, 1])),
        auc=float(roc_auc_score(target, chance)) if both else math.nan,
        hit_rate=float(target.mean()),
        reference_hit_rate=reference_hit_rate,
        signals=target.size,
        wins=int(target.sum()),
    )


def reliability(
    probability: Any, won: Any, *, seed: int, level: float = 0.95, bins: int = MOST_BINS
) -> Reliability:
    """Return predicted against observed wins, in at most `bins` bins of at least 50 signals each.

    probability, won   (n,) by time, as `probability_scores`. Equal probabilities share a bin
    seed, level        of the intervals: percentiles over blocks of neighbours in time

    Fewer than 50 signals give no bin. Bröcker and Smith (2007), Increasing the reliability of reliability
    diagrams, Weather and Forecasting 22, 651-661.

    >>> p = np.repeat([0.3, 0.6], 100)
    >>> found = reliability(p, np.tile([0, 1], 100), seed=1)
    >>> found.count, found.observed
    (array([100, 100]), array([0.5, 0.5]))
    """
    if not 0 < level < 1 or bins < 1:
        raise ConfigError(f"reliability: level {level} in (0, 1) and {bins} bins >= 1 are needed")
    chance, target = _pairs(probability, won)
    brier = probability_scores(chance, target).brier
    if chance.size < LEAST_IN_BIN:
        none, no = np.empty(0), np.empty(0, dtype=np.int64)
        return Reliability(predicted=none, observed=none, low=none, high=none, count=no, brier=brier)
    bin_of = _bins(chance, bins)
    count = np.bincount(bin_of).astype(np.int64)
    observed = np.bincount(bin_of, weights=target) / count
    low, high = _interval(target, bin_of, count.size, level, seed)
    return Reliability(
        predicted=np.bincount(bin_of, weights=chance) / count,
        observed=observed,
        low=low,
        high=high,
        count=count,
        brier=brier,
    )


def _bins(chance: Floats, most: int) -> Integers:
    """Return the number of the bin of each signal, by rising probability."""
    wanted = max(LEAST_IN_BIN, math.ceil(chance.size / most))
    values, counts = np.unique(chance, return_counts=True)
    edges, held = [], 0
    for value, number in zip(values.tolist(), counts.tolist(), strict=True):
        if held >= wanted:
            edges.append(value)
            held = 0
        held += number
    if held < LEAST_IN_BIN and edges:
        edges.pop()
    return np.searchsorted(np.array(edges), chance, side="right").astype(np.int64)


def _interval(target: Floats, bin_of: Integers, bins: int, level: float, seed: int) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    size = target.size
    rows = block_rows(random, size, draws=_RESAMPLES, size=size, block=block_length(size))
    drawn = np.empty((_RESAMPLES, bins))
    for each, row in zip(drawn, rows, strict=True):
        number = np.bincount(bin_of[row], minlength=bins)
        wins = np.bincount(bin_of[row], weights=target[row], minlength=bins)
        each[:] = np.divide(wins, number, out=np.full(bins, np.nan), where=number > 0)
    tail = (1.0 - level) / 2.0
    low, high = np.nanquantile(drawn, [tail, 1.0 - tail], axis=0)
    return low, high


def _pairs(probability: Any, won: Any) -> tuple[Floats, Floats]:
    chance, target = probabilities(probability), outcomes(won)
    if chance.shape != target.shape or not chance.size:
        raise DataError(
            f"{chance.size} probabilities of {target.size} outcomes: one for each is needed, and at least one"
        )
    return chance, target
