"""What every threshold would leave of the strategy: the curve on which one of them was chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lockstep.metrics import Floats
from research.training.dataset import Dataset
from research.training.threshold import taken_trades

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
