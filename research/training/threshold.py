"""The veto's threshold: the trades that stay are those that would really be taken, one position at a time."""

from __future__ import annotations

import numpy as np

from lockstep.metrics import Floats, sharpe
from research.training.config import Threshold
from research.training.dataset import Dataset
from research.validation.labels import Mask


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
