"""Worlds of trades in regimes: strategies that are equal in all of them, and some that are not."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from scipy import stats

from research.statistics.regimes import REGIMES, failing_regimes, results_by_regime

BARS = 2_500
# Mean length of a run in bars, and what the next one is drawn from: bear, sideways, bull, high volatility.
_LENGTHS = {-1.0: 25, 0.0: 20, 1.0: 40, 2.0: 15}
_SHARES = {-1.0: 0.2, 0.0: 0.3, 1.0: 0.3, 2.0: 0.2}


def regimes(random: np.random.Generator, bars: int = BARS) -> Any:
    """Return a path of regimes, float64 (bars,)."""
    found: list[float] = []
    codes, shares = list(_SHARES), list(_SHARES.values())
    while len(found) < bars:
        code = float(random.choice(codes, p=shares))
        found += [code] * int(1 + random.geometric(1.0 / _LENGTHS[code]))
    return np.array(found[:bars])


def trades(random: np.random.Generator, path: Any, *, edge: float, bear: float) -> tuple[Any, Any]:
    """Return (pnl, decided): heavy tails, a shock common to ten days, twice the size at high volatility.

    edge   mean trade, in deviations of one trade; bear: the same in a bear market
    """
    decided = np.flatnonzero(random.random(path.size) < 0.2)
    shocks = random.normal(0, 0.4, path.size // 10 + 1)
    noise = (random.standard_t(4, decided.size) / np.sqrt(2.0) + shocks[decided // 10]) / np.sqrt(1.16)
    here = path[decided]
    return noise * np.where(here == 2.0, 2.0, 1.0) + np.where(here == -1.0, bear, edge), decided


def naive(pnl: Any, decided: Any, path: Any) -> bool:
    """Whether a t-test by trade, at 5 % in each regime, calls the strategy worse in one of them."""
    here = path[decided]
    pairs = [(pnl[here == code], pnl[here != code]) for code in REGIMES]
    return any(
        stats.ttest_ind(one, rest, equal_var=False, alternative="less").pvalue <= 0.05
        for one, rest in pairs
        if one.size > 1
    )


def rates(count: int, seed: int, *, edge: float, bear: float) -> dict[str, float]:
    """Return how often a strategy is flagged, how often naively, and how often intervals cover the truth."""
    tally: Counter[str] = Counter()
    for number in range(count):
        random = np.random.default_rng([seed, number])
        path = regimes(random)
        pnl, decided = trades(random, path, edge=edge, bear=bear)
        found = results_by_regime(pnl, decided, path, resamples=300)
        flagged = failing_regimes(found)
        tally["flagged"] += bool(flagged)
        tally["bear flagged"] += "bear" in flagged
        tally["naive"] += naive(pnl, decided, path)
        for each in found:
            truth = bear if each.name == "bear" else edge
            tally["intervals"] += 1
            tally["covered"] += each.low <= truth <= each.high
            tally["tested"] += not np.isnan(each.p_value)
    intervals = tally["intervals"]
    return {
        "flagged": tally["flagged"] / count,
        "bear flagged": tally["bear flagged"] / count,
        "naive": tally["naive"] / count,
        "covered": tally["covered"] / intervals,
        "tested": tally["tested"] / intervals,
    }


# What a strategy earns per trade, in deviations of one: everywhere, and in a bear market.
_WORLDS = {
    "equal, without an edge": (0.0, 0.0),
    "equal, with an edge of 0.2": (0.2, 0.2),
    "0.2, in a bear market 0": (0.2, 0.0),
    "0.2, in a bear market -0.2": (0.2, -0.2),
    "0.2, in a bear market -0.5": (0.2, -0.5),
}


def soak(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Return the rates of each world, and whether no equal strategy is flagged too often.

    The bound is what a true 5 % exceeds once in a hundred such soaks; the naive flag must break it.
    """
    found = {
        name: rates(count if edge == bear else count // 4, seed + place, edge=edge, bear=bear)
        for place, (name, (edge, bear)) in enumerate(_WORLDS.items())
    }
    bound = float(stats.binom.ppf(0.99, count, 0.05)) / count
    equal = [each for name, each in found.items() if name.startswith("equal")]
    good = all(each["flagged"] <= bound < each["naive"] for each in equal)
    return {"bound": bound, **found}, good
