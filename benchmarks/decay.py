"""What a fitted half-life is worth: how far estimates scatter, how often intervals hold the truth, who acts.

A signal is an autoregression whose own half-life is the edge's; the next session's return follows it.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
from scipy import stats
from scipy.signal import lfilter

from lockstep.metrics import Floats
from lockstep.monitoring.decay import ALERT, WARNING, DecaySettings, decay

LEVEL = 0.95
_BURN_IN, _NO_DECAY = 500, 1e6
_BOUND = 0.001


def fading_edge(half_life: float, edge: float, seed: Any, *, sessions: int = 252) -> tuple[Floats, Floats]:
    """Return a signal and returns: their correlation is `edge` at horizon 1, halved every `half_life`."""
    rng = np.random.default_rng(seed)
    slope = 2.0 ** (-1.0 / half_life)
    noise = rng.standard_normal(sessions + _BURN_IN) * math.sqrt(1.0 - slope**2)
    signal = np.asarray(lfilter([1.0], [1.0, -slope], noise)[_BURN_IN:], dtype=np.float64)
    returns = rng.standard_normal(sessions) * math.sqrt(1.0 - edge**2)
    returns[1:] += edge * signal[:-1]
    return signal, returns


def fits(half_life: float, edge: float, runs: int, seed: int, *, sessions: int = 252) -> dict[str, Any]:
    """Return the estimates' quantiles, the intervals' coverage and what would be done about it."""
    settings = DecaySettings(window=sessions)
    found = [
        decay(*fading_edge(half_life, edge, [seed, run], sessions=sessions), settings) for run in range(runs)
    ]
    fitted = [each for each in found if not math.isnan(each.half_life)]
    verdicts = Counter(each.verdict for each in found)
    # Infinite ones would be interpolated to NaN.
    estimates = [min(each.half_life, _NO_DECAY) for each in fitted] or [math.nan]
    low, high = np.quantile(estimates, [0.05, 0.95])
    right = sum(each.low <= half_life <= each.high for each in fitted)
    return {
        "fitted": len(fitted),
        "estimates, 5 to 95 %": [
            round(float(each), 1) if each < _NO_DECAY else "no decay" for each in (low, high)
        ],
        "interval holds the truth": round(right / max(1, len(fitted)), 4),
        "alert by the estimate alone": round(sum(each.half_life < 8 for each in fitted) / runs, 4),
        **{name: round(verdicts[name] / runs, 4) for name in (ALERT, WARNING)},
    }


def bound(runs: int, rate: float = 1.0 - LEVEL) -> int:
    """Return the largest count that a right procedure of this rate exceeds in one of 1,000 cases."""
    return int(stats.binom.isf(_BOUND, runs, rate))


def half_lives(runs: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Return what one and four years say of half-lives, and whether intervals hold them as often as said."""
    cases = [(true, edge) for true in (3.0, 8.0, 15.0, 40.0) for edge in (0.1, 0.2)]
    found = {
        f"half-life {true:g}, edge {edge:g}, {sessions} sessions": fits(
            true, edge, runs, seed + place, sessions=sessions
        )
        for sessions in (252, 1_008)
        for place, (true, edge) in enumerate(cases)
    }
    none = fits(8.0, 0.0, runs, seed + len(cases))
    kept = all(
        1.0 - each["interval holds the truth"] <= bound(each["fitted"]) / each["fitted"]
        for each in found.values()
    )
    kept &= none["fitted"] <= bound(runs)
    return {"runs": runs, **found, "no edge": none}, kept
