"""Null replays of whole searches over NASDAQ days in another order: their size and their power.

The days keep their shape and lose their order and their mean, see `genealogy.py`. A random search and an
evolution look for the best variant over four years; the product's own replay ranks what they found. Beside it
the maximum test over all that the evolution visited, which takes its trials for chosen without looking.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from scipy.stats import binom

from lockstep.market.bars import Bars
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.metrics import Floats
from lockstep.strategy.families.ibs import IbsConfig
from research.experiments.evaluation import Data
from research.experiments.kept_returns import sample_of_moments
from research.experiments.plan import Plan
from research.experiments.replay import objective
from research.statistics.maximum import RunningMaximum, centred, p_value, z_of
from research.statistics.null_replay import null_replay, null_shifts
from research.sweep.run import SweepResult, sweep
from simulation.genealogy import SYMBOL, made_of, shuffled

WARM, SESSIONS = 260, 1_006
SIZE = 0.05
EDGE = 0.008
"""What the day after a close near the low earns from open to close, more than without an edge."""
# The best of twenty has a p-value of 5 %: the size is exactly that.
_REPLAYS = 19

_STEPS = 12
# How much of its range each edge of a filter may take away: what hardly trades is no search.
_NARROWER = 0.15
_FILTERS = {
    "rsi_14": (20.0, 80.0),
    "zscore_20": (-3.0, 3.0),
    "pctb_20_2": (-0.5, 1.5),
    "efficiency_ratio_10": (0.0, 1.0),
    "atr_pctile_14_252": (0.0, 1.0),
}


def _values(low: float, high: float) -> tuple[float, ...]:
    return tuple(float(each) for each in np.linspace(low, high, _STEPS).round(4))


def parameters() -> dict[str, tuple[float, ...]]:
    """Return the four bounds of the signal and both edges of five filters, twelve values each."""
    found = {
        "entry.high": _values(0.05, 0.49),
        "exit.low": _values(0.3, 0.95),
        "short_entry.low": _values(0.51, 0.95),
        "short_exit.high": _values(0.05, 0.7),
    }
    for number, (low, high) in enumerate(_FILTERS.values()):
        found[f"filters.{number}.min"] = _values(low, low + _NARROWER * (high - low))
        found[f"filters.{number}.max"] = _values(high - _NARROWER * (high - low), high)
    return found


BASE = IbsConfig.model_validate(
    {
        "name": "night",
        "direction": "both",
        "filters": [
            {"feature": each, "min": low, "max": high} for each, (low, high) in _FILTERS.items()
        ],
        "max_bars": 10,
        "size": {"kind": "fixed", "contracts": 1},
    }
)  # fmt: skip

SEARCHES: dict[str, dict[str, Any]] = {
    "random": {"sample": 200},
    "evolution": {"generations": 20, "children": 10},
}


def days_of(seed: int, edge: float) -> History:
    """Return shuffled days; after one that closes near its low, the next earns `edge` from open to close."""
    _, days = shuffled(np.random.default_rng((seed, 21)))
    days = days[: WARM + SESSIONS].copy()
    if edge:
        strength = (days[:, 3] - days[:, 2]) / np.maximum(days[:, 1] - days[:, 2], 1e-12)
        after = 1 + np.flatnonzero(strength[:-1] < 0.2)
        days[after, 1:] *= 1 + edge
        days[after, 2] = np.minimum(days[after, 2], days[after, 0])
        # Without drift: a search on moved decisions would find that too.
        days /= days[:, 3].mean()
    return made_of(days)


def plan_of(history: History, **search: Any) -> Plan:
    """Return the search over the last four years; the year before them only warms the filters up."""
    bars: Bars = history.series(SeriesKey(SYMBOL, DAILY))
    dates = history.markets[SYMBOL].session.dates(bars.end, DAILY)

    def span(first: int, last: int) -> tuple[date, date]:
        return dates[first].item(), dates[last].item()

    return Plan.model_validate(
        {
            "name": "night",
            "strategy": BASE,
            "symbols": (SYMBOL,),
            "parameters": parameters(),
            "split": {"train": span(WARM - 5, WARM - 1), "validation": span(WARM, WARM + SESSIONS - 1)},
            **search,
        }
    )


@dataclass(frozen=True, kw_only=True)
class Night:
    """p-values of one search: by replay, and by the maximum test over what it visited."""

    replayed: float
    plain: float


def night(kind: str, seed: int, *, replays: int, edge: float = 0.0, smaller: int = 1) -> Night:
    """Live one night; `smaller` divides the size of the search, and without replays only the rest is done."""
    search = SEARCHES[kind] | {"seed": seed}
    for name in ("sample", "generations"):
        if name in search:
            search[name] //= smaller
    history = days_of(seed, edge)
    plan = plan_of(history, **search)
    data = {SYMBOL: Data(symbol=SYMBOL, family=SYMBOL, history=history, hash="")}
    kept: list[SweepResult] = []

    def keeping(*arguments: Any, **named: Any) -> SweepResult:
        kept.append(sweep(*arguments, **named))
        return kept[-1]

    best = objective(plan, data, 0, mover=keeping)
    replayed = math.nan
    if replays:
        shifts = null_shifts(SESSIONS, replays=replays, seed=seed)
        found = null_replay(functools.partial(objective, plan, data), shifts)
        assert found.objective == best
        replayed = found.p_value
    return Night(replayed=replayed, plain=_maximum_test(kept, best))


def _maximum_test(kept: list[SweepResult], best: float) -> float:
    running, z = RunningMaximum(), -math.inf
    for each in kept:
        sessions = float(each.blocks[0, :, 2].sum())
        running.add(centred(each.sketch, each.timing[:, 0], sessions, each.ones))
        for row in np.flatnonzero(each.metrics["sharpe"] == best):
            moments: Floats = np.concatenate(([sessions], each.timing[row, :4]))
            z = max(z, z_of(sample_of_moments(moments)))
    return p_value(z, running.draws)


def rates(kind: str, nights: int, *, first: int = 0, **settings: Any) -> dict[str, int]:
    """Return how many of `nights` are significant at 5 %, by the replay and by the plain test."""
    found = [night(kind, seed, **settings) for seed in range(first, first + nights)]
    return {
        "replay": sum(each.replayed <= SIZE for each in found),
        "plain": sum(each.plain <= SIZE for each in found),
    }


def soak(nights: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Return the rates of both searches without an edge and with one, and whether all is as it must be."""
    most = int(binom.ppf(0.999, nights, SIZE))
    quiet = {kind: rates(kind, nights, first=seed, replays=_REPLAYS) for kind in SEARCHES}
    edge = {kind: rates(kind, nights // 3, first=seed, replays=_REPLAYS, edge=EDGE) for kind in SEARCHES}
    found = {"bound": most, "replays": _REPLAYS, "without an edge": quiet, "with an edge": edge}
    good = all(each["replay"] <= most for each in quiet.values())
    good &= quiet["random"]["plain"] <= most < quiet["evolution"]["plain"]
    return found, good and all(each["replay"] >= 0.9 * (nights // 3) for each in edge.values())
