"""Histories for the tests over the registry: one instrument, its pair with missing bars, hourly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from lockstep.features.canonical import CANONICAL_PAIR, CANONICAL_SYMBOL, canonical_market
from lockstep.market.bars import Bars
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import Timeframe

HOURLY = Timeframe(60)
BASE = SeriesKey(CANONICAL_SYMBOL, HOURLY)
PAIR = SeriesKey(CANONICAL_PAIR, HOURLY)
_HOUR = 3_600_000_000_000
_FIRST = 1_577_836_800_000_000_000


@dataclass(frozen=True)
class Stretch:
    """Some bars of one kind; prices in ticks."""

    bars: int
    gap: int
    drift: int
    noise: int
    reach: int
    volume: float


@dataclass(frozen=True)
class Recipe:
    """Everything that a history is made of, so that a failing example prints as what to repeat."""

    seed: int
    level: int
    tick: float
    stretches: tuple[Stretch, ...]
    pair_gaps: float = 0.05


def stretches(gap: int) -> st.SearchStrategy[Stretch]:
    return st.builds(
        Stretch,
        bars=st.integers(1, 30),
        gap=st.integers(-gap, gap),
        drift=st.integers(-3, 3),
        noise=st.sampled_from([0, 0, 2, 9]),
        reach=st.sampled_from([0, 0, 3, 11]),
        volume=st.sampled_from([0.0, 1.0, 1e3, 1e15]),
    )


def recipes(
    *, levels: tuple[int, ...] = (20_000, 600, 0, -400), ticks: tuple[float, ...] = (0.25, 0.01)
) -> st.SearchStrategy[Recipe]:
    """Draw recipes; levels up to 600 ticks cross zero."""
    return st.builds(
        Recipe,
        seed=st.integers(0, 2**20),
        level=st.sampled_from(levels),
        tick=st.sampled_from(ticks),
        stretches=st.lists(stretches(300), min_size=1, max_size=4).map(tuple),
    )


def positive_recipes() -> st.SearchStrategy[Recipe]:
    """Draw recipes whose prices stay positive."""
    return recipes(levels=(60_000,))


def history_of(recipe: Recipe, lookback: int) -> History:
    """Return a history in which the drawn stretches follow `lookback` ordinary bars."""
    ordinary = Stretch(bars=lookback + 3, gap=0, drift=0, noise=6, reach=5, volume=500.0)
    plan = (ordinary, *recipe.stretches)
    base = _bars(BASE, plan, recipe, recipe.seed)
    pair = _bars(PAIR, plan, recipe, recipe.seed + 1)
    return History(
        bars={BASE: base, PAIR: _without_some(pair, recipe)}, markets={CANONICAL_SYMBOL: canonical_market()}
    )


def _bars(key: SeriesKey, plan: tuple[Stretch, ...], recipe: Recipe, seed: int) -> Bars:
    random = np.random.default_rng(seed)
    parts = [_steps(stretch, random) for stretch in plan]
    gap, body, above, below, volume = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    close = recipe.level + np.cumsum(gap + body)
    opened = close - body
    return Bars(
        symbol=key.symbol,
        timeframe=key.timeframe,
        end=_FIRST + _HOUR * np.arange(close.size, dtype=np.int64),
        open=opened * recipe.tick,
        high=(np.maximum(opened, close) + above) * recipe.tick,
        low=(np.minimum(opened, close) - below) * recipe.tick,
        close=close * recipe.tick,
        volume=volume,
    )


def _steps(stretch: Stretch, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    n = stretch.bars
    gap = np.zeros(n, dtype=np.int64)
    gap[0] = stretch.gap
    body = stretch.drift + random.integers(-stretch.noise, stretch.noise + 1, n)
    above = random.integers(0, stretch.reach + 1, n)
    below = random.integers(0, stretch.reach + 1, n)
    return gap, body, above, below, np.floor(stretch.volume * random.uniform(0.2, 2.0, n))


def _without_some(pair: Bars, recipe: Recipe) -> Bars:
    """Drop single bars and one stretch that is longer than the maximum age."""
    random = np.random.default_rng(recipe.seed + 2)
    kept = random.uniform(size=len(pair)) > recipe.pair_gaps * (random.uniform() < 0.5)
    if recipe.seed % 3 == 0:
        kept[-9:-3] = False
    return select(pair, kept)


def select(bars: Bars, rows: np.ndarray) -> Bars:
    """Return the bars at `rows` (a mask or indices)."""
    return replace(
        bars, end=bars.end[rows], **{name: values[rows] for name, values in bars.columns().items()}
    )


def from_row(history: History, first: int) -> History:
    """Return the history that begins at row `first` of the base series.

    Other series keep the bars that may still stand in for a missing one then.
    """
    start = history.bars[BASE].end[first]
    starts = {key: start if key == BASE else start - 3 * _HOUR for key in history.bars}
    return History(
        bars={key: select(bars, bars.end >= starts[key]) for key, bars in history.bars.items()},
        markets=history.markets,
    )


def with_other_future(history: History, row: int, seed: int) -> History:
    """Return the history with all bars after `row` of the base series replaced by others."""
    cut = history.bars[BASE].end[row]
    random = np.random.default_rng(seed)
    return History(
        bars={key: _other_after(bars, int(cut), random) for key, bars in history.bars.items()},
        markets=history.markets,
    )


def _other_after(bars: Bars, cut: int, random: np.random.Generator) -> Bars:
    later = bars.end > cut
    moved = np.where(later, 1_000.0 * random.standard_normal(len(bars)), 0.0)
    opened, close = bars.open + moved, bars.close + moved * random.uniform(0.0, 1.0, len(bars))
    return replace(
        bars,
        open=opened,
        close=close,
        high=np.where(later, np.maximum(opened, close) + 1.0, bars.high),
        low=np.where(later, np.minimum(opened, close) - 1.0, bars.low),
        volume=np.where(later, bars.volume * 3.0 + 1.0, bars.volume),
    )
