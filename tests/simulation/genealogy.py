"""A genealogy of real IBS variants over NASDAQ days in another order, where there is nothing to find.

Every night has twenty children of the best variant so far. The days keep their shape (gap, range, close) and
lose their order and their mean, so that no rule has an edge before costs. The first ten years are history, on
which the children are bred; what follows is forward, and is drawn anew as often as asked.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_bars
from lockstep.market.timeframe import DAILY
from lockstep.metrics import Floats, Integers
from lockstep.monitoring.eprocess import (
    e_process,
    history_evidence,
    promotion_threshold,
    weight,
)
from lockstep.strategy.families.ibs import IbsConfig
from research.statistics.maximum import RunningMaximum, centred, p_value, z_of
from research.statistics.sharpe import SharpeSample, deflated_sharpe, probabilistic_sharpe
from research.sweep.run import sweep, trace

SYMBOL = "COMP"
NIGHTS, CHILDREN = 60, 20
# The best so far is registered every so many nights.
EVERY = 5
HISTORY, FORWARD = 2_520, 756

# What a child may change: an edge of the four bounds of the signal, both edges of six filters.
_BOUNDS = {"entry": (0.05, 0.49), "exit": (0.3, 0.95), "short_entry": (0.51, 0.95), "short_exit": (0.05, 0.7)}
_FILTERS = {
    "rsi_2": (0.0, 100.0),
    "rsi_14": (20.0, 80.0),
    "zscore_20": (-3.0, 3.0),
    "pctb_20_2": (-0.5, 1.5),
    "efficiency_ratio_10": (0.0, 1.0),
    "atr_pctile_14_252": (0.0, 1.0),
}
# Two genes are changed in a child, each by about a quarter of its range.
_CHANGED, _STEP = 2, 0.25


@functools.cache
def _shapes() -> tuple[Floats, Bars]:
    """Return each day's open, high, low and close over the close before, (n, 4), and the bars themselves."""
    bars = load_bars(SYMBOL, timeframe=DAILY)
    prices = np.column_stack((bars.open, bars.high, bars.low, bars.close))
    found = prices[1:] / prices[:-1, 3:]
    return found / found[:, 3].mean(), bars


def shuffled(random: np.random.Generator, past: Floats | None = None) -> tuple[History, Floats]:
    """Return thirteen years of shuffled days, and their shapes; the history is that of `past` if given."""
    days = random.permutation(_shapes()[0])[: HISTORY + FORWARD]
    if past is not None:
        days[:HISTORY] = past[:HISTORY]
    return made_of(days), days


def made_of(days: Floats) -> History:
    """Return the history whose days have these shapes."""
    _, bars = _shapes()
    before = 2_000 * np.cumprod(np.concatenate(([1.0], days[:-1, 3])))
    prices = dict(zip(("open", "high", "low", "close"), (days * before[:, None]).T, strict=True))
    made = Bars(
        symbol=SYMBOL, timeframe=DAILY, end=bars.end[: len(days)], volume=np.ones(len(days)), **prices
    )
    return History(bars={SeriesKey(SYMBOL, DAILY): made}, markets=load_instruments().markets)


def spans(history: History) -> tuple[DateRange, DateRange]:
    """Return the dates of history and of what follows."""
    end = history.series(SeriesKey(SYMBOL, DAILY)).end
    last, first = (end[at].astype("M8[ns]").astype("M8[D]").astype(date) for at in (HISTORY - 1, HISTORY))
    return DateRange.of(end=last), DateRange.of(first)


def variant(genes: Floats) -> IbsConfig:
    """Return the configuration of 16 genes in [0, 1]."""
    ranges = np.array([*_BOUNDS.values(), *(each for each in _FILTERS.values() for _ in range(2))])
    value = (ranges[:, 0] + genes * (ranges[:, 1] - ranges[:, 0])).tolist()
    filters = [
        {"feature": name, "min": min(value[at : at + 2]), "max": max(value[at : at + 2])}
        for name, at in zip(_FILTERS, range(4, len(value), 2), strict=True)
    ]
    return IbsConfig.model_validate(
        {
            "name": "child",
            "direction": "both",
            "entry": (0.0, value[0]),
            "exit": (value[1], 1.0),
            "short_entry": (value[2], 1.0),
            "short_exit": (0.0, value[3]),
            "filters": filters,
            "max_bars": 10,
            "size": {"kind": "fixed", "contracts": 1},
        }
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Bred:
    """What a genealogy left.

    best, beta   the best variant after each night, and its mean exposure to the market
    draws        (12, 1000): the maximum of all trials without skill, after every fifth night
    days         shapes of the days
    """

    best: Sequence[IbsConfig]
    beta: Sequence[float]
    draws: Floats
    days: Floats


def breed(seed: int, nights: int = NIGHTS, *, learns: bool = True) -> Bred:
    """Live `nights`; without `learns` every night's children are drawn anew."""
    random = np.random.default_rng((seed, 11))
    history, days = shuffled(random)
    span, _ = spans(history)
    parent, beta, record = _founder(random), 0.0, -np.inf
    best, betas, draws, running = [], [], [], RunningMaximum()
    for night in range(nights):
        children = [_child(parent, random) if learns else _founder(random) for _ in range(CHILDREN)]
        found = sweep([variant(each) for each in children], history, SYMBOL, span=span, jobs=1)
        ratios = np.nan_to_num(found.metrics["sharpe"], nan=0.0)
        top = int(ratios.argmax())
        if ratios[top] > record:
            record, parent, beta = float(ratios[top]), children[top], float(found.timing[top, 4])
        best.append(variant(parent))
        betas.append(beta)
        running.add(centred(found.sketch, found.timing[:, 0], HISTORY, found.ones))
        if night % EVERY == EVERY - 1:
            draws.append(running.draws.copy())
    return Bred(best=best, beta=betas, draws=np.array(draws), days=days)


def _founder(random: np.random.Generator) -> Floats:
    """Return random bounds of the signal and wide open filters that are narrowed a little."""
    genes = random.random(4 + 2 * len(_FILTERS))
    genes[4::2] *= 0.3
    genes[5::2] = 1.0 - 0.3 * genes[5::2]
    return genes


def _child(parent: Floats, random: np.random.Generator) -> Floats:
    genes = parent.copy()
    changed = random.choice(genes.size, _CHANGED, replace=False)
    genes[changed] = np.clip(genes[changed] + random.normal(0, _STEP, _CHANGED), 0.0, 1.0)
    return genes


def residual(config: IbsConfig, beta: float, history: History) -> Floats:
    """Return the session results of a variant on its capital, less what its exposure gave, (sessions,)."""
    close = history.series(SeriesKey(SYMBOL, DAILY)).close
    equity = trace(config, history, SYMBOL).equity
    returns = np.diff(equity, prepend=config.capital) / config.capital
    market = np.diff(close, prepend=close[0]) / np.concatenate((close[:1], close[:-1]))
    return returns - beta * market


def samples(bred: Bred) -> list[SharpeSample]:
    """Return what history says of the best variant of each night."""
    history = made_of(bred.days)
    each = {one.config_hash: (one, beta) for one, beta in zip(bred.best, bred.beta, strict=True)}
    found = {key: SharpeSample.of(residual(*one, history)[:HISTORY]) for key, one in each.items()}
    return [found[one.config_hash] for one in bred.best]


def passed_by_counting(bred: Bred) -> int:
    """Return in how many nights the old gate passes: a deflated Sharpe ratio of .95 after all trials so far.

    Each trial counts as an independent one, which deflates most.
    """
    ratios = [
        deflated_sharpe(sample, trials=CHILDREN * (night + 1), variance=1 / (HISTORY - 1))
        for night, sample in enumerate(samples(bred))
    ]
    return sum(ratio >= 0.95 for ratio in ratios)


def passed_by_maximum(bred: Bred) -> int:
    """Return in how many of every fifth nights the maximum test of all trials so far passes, at 5 %."""
    said = samples(bred)[EVERY - 1 :: EVERY]
    return sum(p_value(z_of(one), draws) <= 0.05 for one, draws in zip(said, bred.draws, strict=True))


@dataclass(frozen=True, kw_only=True, eq=False)
class Futures:
    """What became of the registrations of a genealogy, none of which has an edge.

    highest   (futures, n): the greatest forward evidence of each in three years
    history   (n,): the evidence of history for each, and counted: what it would be for a declared space
    """

    highest: Floats
    history: Floats
    counted: Floats

    def promoted(self, history: Floats, allowed: float) -> Integers:
        """Return how many of the year's registrations are promoted in each future, int64 (futures,)."""
        return (history * self.highest >= promotion_threshold(weight([]), allowed)).sum(axis=1)


def futures(bred: Bred, count: int) -> Futures:
    """Register the best every five nights, if it is not yet, and see what follows `count` times."""
    said = samples(bred)
    chosen: dict[str, tuple[IbsConfig, float, float, float]] = {}
    for night in range(EVERY - 1, len(bred.best), EVERY):
        config = bred.best[night]
        if config.config_hash not in chosen:
            # All trials so far: the most that a count can say against it.
            luck, trials = 1 - probabilistic_sharpe(said[night]), CHILDREN * (night + 1)
            judged = (history_evidence(luck, trials, adaptive=adaptive) for adaptive in (True, False))
            chosen[config.config_hash] = config, bred.beta[night], *judged
    configs, betas, history, counted = zip(*chosen.values(), strict=True)
    random = np.random.default_rng(13)
    highest = []
    for _ in range(count):
        days, _ = shuffled(random, bred.days)
        x = np.array([residual(*one, days) for one in zip(configs, betas, strict=True)])
        x /= x[:, :HISTORY].std(axis=1, keepdims=True)
        highest.append(e_process(x[:, HISTORY:]).max(axis=1))
    return Futures(highest=np.array(highest), history=np.array(history), counted=np.array(counted))
