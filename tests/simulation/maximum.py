"""Markets without skill, markets with a known edge, and how often the test of the maximum takes either.

Searches are those of the product: its sweep over 600 variants of its baseline on 1,006 test sessions. Their
bars have the shapes of real ones (the NASDAQ Composite from 1999 to 2014), in an order that is drawn.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import lfilter
from scipy.stats import binom

from lockstep.market.bars import Bars
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.metrics import Floats
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.families.ibs import IbsConfig
from research.experiments.grid import Grid
from research.experiments.variants import VariantSpace, draw
from research.statistics.maximum import (
    DRAWS,
    RunningMaximum,
    centred,
    p_value,
    sketch_of,
    z_of_blocks,
    z_of_sums,
)
from research.sweep.run import sweep

ROOT = Path(__file__).resolve().parents[2]
KEY = SeriesKey("COMP", DAILY)
SHAPES = DateRange.model_validate({"start": "1999-06-01", "end": "2014-12-31"})
TESTED = DateRange.model_validate({"start": "2011-01-01", "end": "2014-12-31"})
YEAR = 252.0
# Bars before the tested ones.
WARM_UP = 20


def allowed(count: int, size: float = 0.05) -> int:
    """Return how many of `count` tests of this size may reject: more happen once in a thousand times."""
    return int(binom.ppf(0.999, count, size))


@functools.cache
def variants() -> Sequence[StrategyConfig]:
    """Return the 600 variants of the grid that the README searches."""
    base = IbsConfig.load(ROOT / "configs/strategies/baseline_v1.yaml")
    values = Grid.load(ROOT / "configs/grids/baseline_grid.yaml").parameters
    space = VariantSpace(base=base, values=values)
    return draw(space, range(space.size)).configs


@functools.cache
def real() -> History:
    """Return the embedded bars."""
    return load_history("COMP", None, timeframe=DAILY)


@functools.cache
def shapes() -> Floats:
    """Return open, high, low, close beside the close before, logarithms, float64 (n, 4), without drift."""
    history = real()
    bars = history.series(KEY)
    rows = SHAPES.select(bars, history.markets["COMP"])
    prices = np.stack((bars.open, bars.high, bars.low, bars.close))
    found = np.log(prices[:, 1:] / bars.close[:-1]).T[rows.start - 1 : rows.stop - 1]
    # Of simple returns: a price without drift is a fair game.
    drift: Floats = found - np.log(np.exp(found[:, 3]).mean())
    return drift


@dataclass(frozen=True, kw_only=True)
class World:
    """What is true of a market.

    drift   its yearly Sharpe ratio, earned overnight, whatever came before
    edge    what a day after a weak close (internal bar strength below .2) earns from its open on beyond the
            drift, in standard deviations of a day; the other days lose it again
    """

    drift: float = 0.0
    edge: float = 0.0

    def history(self, seed: int) -> History:
        """Return bars of this market over the tested sessions, and some before."""
        market = real()
        bars, some = market.series(KEY), shapes()
        rows = TESTED.select(bars, market.markets["COMP"])
        count = rows.stop - rows.start + WARM_UP
        drawn = np.random.default_rng(seed).permutation(len(some))[:count]
        logs, deviation = some[drawn].copy(), some[:, 3].std()
        opened, high, low, close = logs.T
        weak = np.append(0.0, (close - low)[:-1] < 0.2 * (high - low)[:-1])
        share = ((some[:, 3] - some[:, 2]) < 0.2 * (some[:, 1] - some[:, 2])).mean()
        logs += self.drift * deviation / np.sqrt(YEAR)
        logs[:, 1:] += (self.edge * deviation * (weak - share))[:, None]
        high[:], low[:] = np.maximum(high, opened), np.minimum(low, opened)
        before = np.concatenate(([0.0], np.cumsum(close)[:-1]))
        prices = 3_000.0 * np.exp(logs + before[:, None])
        columns = dict(zip(("open", "high", "low", "close"), prices.T, strict=True))
        made = Bars(
            symbol="COMP", timeframe=DAILY, end=bars.end[rows.stop - count : rows.stop],
            volume=np.ones(count), source="drawn", **columns,
        )  # fmt: skip
        return replace(market, bars={KEY: made})


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one search found: the p-value of its best trial, also against zero, and its yearly ratio."""

    p_value: float
    against_zero: float
    sharpe: float


def searched(world: World, seed: int) -> Verdict:
    """Search a market, and test the variant with the best Sharpe ratio."""
    found = sweep(variants(), world.history(seed), "COMP", span=TESTED, jobs=1)
    sessions = found.metrics["sessions"][0]
    sharpe = found.metrics["sharpe"]
    best = int(np.nanargmax(sharpe))
    draws = _draws(centred(found.sketch, found.timing[:, 0], sessions, found.ones))
    mean, skew, kurtosis = (found.metrics[name][best] for name in ("sharpe_session", "skew", "kurtosis"))
    error = np.sqrt((1 - skew * mean + (kurtosis - 1) / 4 * mean**2) / (sessions - 1))
    return Verdict(
        p_value=p_value(float(z_of_sums(found.timing[best : best + 1, :4], sessions)[0]), draws),
        against_zero=p_value(float(mean / error), draws),
        sharpe=float(sharpe[best]),
    )


def searches(world: World, count: int, seed: int) -> list[Verdict]:
    """Search `count` markets."""
    return [searched(world, seed + number) for number in range(count)]


def independent(trials: int, sessions: int, random: np.random.Generator) -> float:
    """Return the p-value of the best of independent trials without skill."""
    days = np.datetime64("2011-01-01") + np.arange(sessions)
    running, best = RunningMaximum(), -np.inf
    ones = sketch_of(np.ones((1, sessions)), days)[0]
    for first in range(0, trials, 4_096):
        returns = random.standard_normal((min(4_096, trials - first), sessions))
        square = returns * returns
        powers = (returns, square, square * returns, square * square)
        sums = np.stack([each.sum(axis=1) for each in powers], axis=1)
        running.add(centred(sketch_of(returns, days), sums[:, 0], sessions, ones))
        best = max(best, float(z_of_sums(sums, sessions).max()))
    return p_value(best, running.draws)


def _draws(sketches: Floats) -> Floats:
    running = RunningMaximum()
    running.add(sketches)
    return running.draws


def crowd(trials: int, sessions: int, common: float, random: np.random.Generator, phi: float = 0.0) -> Floats:
    """Return returns (trials, sessions) that correlate by `common`, and by `phi` with the session before."""
    noise = random.standard_normal((trials + 1, sessions))
    noise[:, 1:] *= np.sqrt(1 - phi**2)
    noise = lfilter([1.0], [1.0, -phi], noise, axis=1)
    return np.sqrt(common) * noise[0] + np.sqrt(1 - common) * noise[1:]


def by_blocks(returns: Floats, block: int) -> float:
    """Return the p-value of the best of trials, with blocks of so many days."""
    days = np.datetime64("2011-01-01") + np.arange(returns.shape[1])
    rest = returns - returns.mean(axis=1, keepdims=True)
    draws = _draws(sketch_of(rest, days, block))
    return p_value(float(z_of_blocks(returns, days, block).max()), draws)


def bootstrapped(returns: Floats, block: float, random: np.random.Generator) -> float:
    """Return the p-value of the best trial by resampling alone: no sketch and no normal law.

    Stationary bootstrap (Politis and Romano 1994) of sessions, mean block length `block`; each resample's
    ratio is studentised by its own deviation. Every trial is resampled by the same sessions.
    """
    sessions = returns.shape[1]
    start = random.integers(0, sessions, (DRAWS, sessions))
    fresh = random.random((DRAWS, sessions)) < 1.0 / block
    fresh[:, 0] = True
    last = np.maximum.accumulate(np.where(fresh, np.arange(sessions), 0), axis=1)
    rows = (np.take_along_axis(start, last, axis=1) + np.arange(sessions) - last) % sessions
    weight = np.stack([np.bincount(each, minlength=sessions) for each in rows]) / sessions
    mean = returns.mean(axis=1)
    drawn = weight @ returns.T
    deviation = np.sqrt(weight @ (returns**2).T - drawn**2)
    greatest = ((drawn - mean) / deviation).max(axis=1)
    best = float((mean / returns.std(axis=1)).max())
    return (1 + int((greatest >= best).sum())) / (1 + DRAWS)


def rates(found: list[Verdict]) -> dict[str, Any]:
    """Return how many of these searches pass at 5 %, and their median Sharpe ratio."""
    return {
        "searches": len(found),
        "passed": sum(each.p_value <= 0.05 for each in found),
        "passed against zero": sum(each.against_zero <= 0.05 for each in found),
        "median yearly Sharpe ratio of the best": round(float(np.median([each.sharpe for each in found])), 3),
    }


# Edges with which the best test Sharpe ratio of a search has this median, found by trying.
EDGES = {1.7: 0.295, 2.7: 0.53}
INDEPENDENT = (100, 1_000, 10_000, 160_000)


def dependent(count: int, seed: int, block: int, *, phi: float, common: float) -> int:
    """Return how many of `count` crowds of 100 trials over 1,008 sessions pass at 5 %."""
    random = np.random.default_rng(seed)
    crowds = (crowd(100, 1_008, common, random, phi) for _ in range(count))
    return sum(by_blocks(each, block) <= 0.05 for each in crowds)


def gaps(count: int, seed: int) -> Floats:
    """Return p-values minus those of plain resampling, float64 (count,), of small crowds."""
    random = np.random.default_rng(seed)
    found = np.zeros(count)
    for number in range(count):
        trials, common, edge = int(random.integers(5, 60)), random.uniform(0, 0.9), random.uniform(-0.02, 0.1)
        returns = crowd(trials, 504, common, random) + edge
        found[number] = by_blocks(returns, 1) - bootstrapped(returns, 1.0, random)
    return found


def measured(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Return all rates, and whether they are as they should be; 160,000 trials a tenth as often."""
    found: dict[str, Any] = {}
    good = True

    def rate(name: str, passed: int, of: int) -> None:
        nonlocal good
        found[name] = {"passed": passed, "of": of, "allowed": allowed(of)}
        good &= passed <= allowed(of)
        print(name, found[name], flush=True)

    for name, world in (("noise", World()), ("drift", World(drift=0.8))):
        seen = rates(searches(world, count, seed))
        rate(name, seen["passed"], count)
        found[name] |= seen
    good &= found["drift"]["passed against zero"] > allowed(count)
    for sharpe, edge in EDGES.items():
        seen = rates(searches(World(edge=edge), count, seed))
        found[f"edge of {sharpe}"] = seen
        good &= seen["passed"] >= (0.7 if sharpe < 2 else 0.95) * count
        print(seen, flush=True)
    for block, phi, common in product((1, 14), (0.0, 0.3), (0.0, 0.5)):
        name = f"autocorrelation {phi}, correlation {common}, blocks of {block}"
        some = min(count, 200)
        passed = dependent(some, seed, block, phi=phi, common=common)
        if block > 1 or phi == 0.0:
            rate(name, passed, some)
        else:
            found[name] = {"passed": passed, "of": some, "allowed": "more: the control"}
            good &= passed > allowed(some)
    apart = np.abs(gaps(min(count, 200), seed))
    found["from resampling"] = {"median": float(np.median(apart)), "greatest": float(apart.max())}
    good &= float(np.median(apart)) <= 0.03
    for trials in INDEPENDENT:
        of = count if trials < 100_000 else max(1, count // 10)
        random = np.random.default_rng([seed, trials])
        rate(f"{trials:,} trials", sum(independent(trials, 252, random) <= 0.05 for _ in range(of)), of)
    return found, bool(good)
