"""How probable it is that a set of limits breaks its declared drawdown.

Whole sessions are drawn in blocks, the same ones for every set of limits: two sets that meet equal sessions
differ by themselves and not by luck. Politis and Romano (1994), The Stationary Bootstrap, JASA 89, 1303-1313.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import kernel
from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats
from research.statistics.sharpe import finite

# Sets whose sessions lie side by side in one cache line.
_TOGETHER = 8


def drawdown_probabilities(pnl: Any, rows: NDArray[np.int32], bound: float) -> Floats:
    """Return for each set of limits the share of samples whose maximum drawdown is above `bound`, (V,).

    pnl     float64 (V, D), USD: profit and loss per session of each set
    rows    int32 (R, D'), sessions of each sample, from `resampled_rows`
    bound   USD, > 0

    A drawdown is from the highest equity so far, the start included. ConfigError for another bound, DataError
    for P&L that is not finite or rows that are no sessions.
    """
    values = finite(pnl, "P&L of the limit sets", dimensions=2)
    if not (math.isfinite(bound) and bound > 0):
        raise ConfigError(f"drawdown {bound}: must be a positive number of USD")
    if not rows.size or rows.min() < 0 or rows.max() >= values.shape[1]:
        raise DataError(f"bootstrap rows: must be numbers of the {values.shape[1]} sessions")
    sets = values.shape[0]
    padded = np.zeros((math.ceil(sets / _TOGETHER) * _TOGETHER, values.shape[1]))
    padded[:sets] = values
    broken = [
        _broken(np.ascontiguousarray(part.T), rows, bound)
        for part in np.split(padded, range(_TOGETHER, len(padded), _TOGETHER))
    ]
    shares: Floats = np.concatenate(broken)[:sets] / rows.shape[0]
    return shares


@kernel
def _broken(pnl: Floats, rows: NDArray[np.int32], bound: float) -> Floats:
    """Return how many samples break the bound, (_TOGETHER,), of P&L (D, _TOGETHER)."""
    out = np.zeros(_TOGETHER)
    equity, peak, worst = np.empty(_TOGETHER), np.empty(_TOGETHER), np.empty(_TOGETHER)
    for sample in range(rows.shape[0]):
        for each in range(_TOGETHER):
            equity[each] = peak[each] = worst[each] = 0.0
        for place in range(rows.shape[1]):
            row = rows[sample, place]
            for each in range(_TOGETHER):
                equity[each] += pnl[row, each]
                peak[each] = max(peak[each], equity[each])
                worst[each] = max(worst[each], peak[each] - equity[each])
        for each in range(_TOGETHER):
            if worst[each] > bound:
                out[each] += 1.0
    return out
