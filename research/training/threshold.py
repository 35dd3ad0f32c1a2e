"""The veto's threshold: the trades that stay are those that would really be taken, one position at a time.

How probabilities are scored: larger is better, whatever the objective.

What every threshold would leave of the strategy: the curve on which one of them was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from lockstep.metrics import Floats, Integers, sharpe
from research.splits.labels import Mask
from research.training.config import Threshold
from research.training.dataset import Dataset


def taken_trades(dataset: Dataset, accepted: Mask) -> Mask:
    """Return which samples the strategy would trade if it entered at the accepted ones only, bool (n,).

    An entry needs to be flat: the decision lies at or after the bar in which the last trade ended. With all
    accepted these are the trades of the plain strategy (but for trades that are still open at the last bar).
    """
    taken = np.zeros(accepted.size, dtype=np.bool_)
    decision, ends = dataset.decision.tolist(), dataset.exit.tolist()
    free = -1
    for row in np.flatnonzero(accepted).tolist():
        if decision[row] >= free:
            taken[row], free = True, ends[row]
    return taken


def criterion(name: str, net_return: Floats) -> float:
    """Return the value of some trades, returns float64 (m,), by the criterion of that name; larger is better.

    -inf where it is undefined: no trade, or for `sharpe` fewer than two or no variation.
    """
    if not net_return.size:
        return -np.inf
    if name == "net_pnl":
        return float(net_return.sum())
    if name == "profit_factor":
        lost = -float(net_return[net_return < 0].sum())
        return float(net_return[net_return > 0].sum()) / lost if lost else np.inf
    found = sharpe(net_return, net_return.size)
    return found if np.isfinite(found) else -np.inf


def choose_threshold(settings: Threshold, dataset: Dataset, probability: Floats) -> float:
    """Return the best threshold for out-of-fold probabilities, float64 (n,); the lowest of equals.

    Thresholds that keep less than the configured share of the unfiltered trades are out; 0 keeps all.
    """
    least = settings.keep * taken_trades(dataset, np.ones(len(dataset), dtype=np.bool_)).sum()
    best, best_value = 0.0, -np.inf
    for threshold in settings.grid.tolist():
        taken = taken_trades(dataset, probability >= threshold)
        if threshold and taken.sum() < least:
            continue
        value = criterion(settings.criterion, dataset.net_return[taken])
        if value > best_value:
            best, best_value = threshold, value
    return best


Score = Callable[[Integers, Floats, Floats], float]


def _log_loss(target: Integers, probability: Floats, weight: Floats) -> float:
    return -float(log_loss(target, probability, sample_weight=weight, labels=[0, 1]))


def _roc_auc(target: Integers, probability: Floats, weight: Floats) -> float:
    return float(roc_auc_score(target, probability, sample_weight=weight))


def _average_precision(target: Integers, probability: Floats, weight: Floats) -> float:
    return float(average_precision_score(target, probability, sample_weight=weight))


# (target, probability, weight), each (n,) -> score
SCORES: Mapping[str, Score] = {
    "log_loss": _log_loss,
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
}


_POINTS = 121


@dataclass(frozen=True, kw_only=True, eq=False)
class ThresholdCurve:
    """The trades that would really be taken, one position at a time, for m thresholds.

    threshold   float64 (m,), rising; trades float64 (m,): how many; kept: share of those without a veto
    net_pnl     float64 (m,), USD
    """

    threshold: Floats
    trades: Floats
    kept: Floats
    net_pnl: Floats


def threshold_curve(data: Dataset, probability: Floats) -> ThresholdCurve:
    """Ask what each of evenly spaced thresholds would leave of n samples with `probability` (n,)."""
    threshold = np.linspace(float(probability.min()), float(probability.max()), _POINTS)
    taken = np.array([taken_trades(data, probability >= each) for each in threshold])
    trades = taken.sum(axis=1).astype(np.float64)
    return ThresholdCurve(
        threshold=threshold, trades=trades, kept=trades / trades[0], net_pnl=taken @ data.net_pnl
    )
