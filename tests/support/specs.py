"""Random specs: trees over the whole catalogue, with constants that are quantiles of what the ids were.

Worlds to trade them in have bars out of session, half days, days without bars, joined series with holes,
and ids whose windows are long, so that values are missing before, between and at the ends of the others.
Seeds are the whole life of a spec.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lockstep.errors import ConfigError
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import default_registry
from lockstep.market.bars import Bars, Floats
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.family import strategy_of
from support.markets import BOOK, HOURLY, MINUTE, random_bars, utc

Random = np.random.Generator
Content = dict[str, Any]

# Most conditions of a side, all of which a drawn spec may have.
MOST = 12
# The share of a joined series' bars that a world lacks.
_HOLES = 0.1
# Bars that windows may fill with before the traded ones.
_PAST = 700
# Beside those of the catalogue; PAIR is the joined symbol.
_ADDED = (
    "ibs@PAIR",
    "rsi_5@PAIR",
    "ibs*rsi_2",
    "ibs*volume_pctile_20",
    "pair_ibs*rsi_5@PAIR",
    "rsi_2~1",
    "rsi_2~3",
    "ibs~1",
    "pair_ret_1~1",
    "rsi_5~2@PAIR",
    "rsi_2%60",
    "ret_1%20",
    "pair_zscore_20%20",
    "ibs%20@PAIR",
    "atr_14%100~1",
    "zscore_20~2",
)
BY_REGIME: dict[str, Any] = {
    "feature": "regime_10_0.5_1_15_0.8", "bull": 0.75, "bear": 0.5, "high_volatility": 0.0
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """Bars to trade on, and what the ids of the catalogue were on them.

    columns   float64 (n, ids): the values at the traded bars, from which constants are drawn
    """

    history: History
    symbol: str
    timeframe: Timeframe
    span: DateRange
    ids: tuple[str, ...]
    columns: Floats

    @classmethod
    def of(
        cls,
        history: History,
        symbol: str,
        pair: str,
        timeframe: Timeframe,
        count: int,
        about: tuple[str, ...] = ("",),
    ) -> World:
        """Return the last `count` bars of a series as a world, those before them as its past.

        about   its ids have one of these texts in them, any by default
        """
        bars = history.series(SeriesKey(symbol, timeframe))
        dates = history.markets[symbol].session.dates(bars.end, timeframe)
        span = DateRange(start=dates[-min(count, len(dates))].astype(object), end=dates[-1].astype(object))
        ids = tuple(each.replace("PAIR", pair) for each in (*default_registry().list(), *_ADDED))
        ids = tuple(each for each in ids if any(mark in each for mark in about))
        plan = default_registry().plan(ids, SeriesKey(symbol, timeframe))
        matrix = BatchFeatures(plan, history).matrix[span.rows(dates, "world")]
        return cls(history=history, symbol=symbol, timeframe=timeframe, span=span, ids=ids, columns=matrix)


def with_holes(bars: Bars, share: float, seed: int) -> Bars:
    """Return bars without some of them, drawn."""
    kept = np.flatnonzero(np.random.default_rng(seed).random(len(bars)) >= share)
    names = ("end", "open", "high", "low", "close", "volume")
    return replace(bars, **{name: getattr(bars, name)[kept] for name in names})


def _indices(symbol: str, pair: str, first: str, count: int, *, late: int = 0) -> History:
    """Return `count` daily bars of an index, and of another, `late` bars later, all but a tenth of them."""
    traded, joined = SeriesKey(symbol, DAILY), SeriesKey(pair, DAILY)
    history = load_history(symbol, None, start=first, context=(joined,))
    bars = history.bars[traded].rows(0, count)
    begins, ends = np.searchsorted(history.bars[joined].end, [bars.end[late], bars.end[-1] + 1])
    holed = with_holes(history.bars[joined].rows(int(begins), int(ends)), _HOLES, 3)
    return replace(history, bars={traded: bars, joined: holed})


@functools.cache
def daily_world(count: int) -> World:
    """Return daily bars of the NASDAQ Composite, and the S&P as its pair."""
    return World.of(_indices("COMP", "SPX", "2009-01-02", count + _PAST), "COMP", "SPX", DAILY, count)


@functools.cache
def young_world(count: int) -> World:
    """Return the S&P from its first bar on: windows fill while it is traded, the pair's a year later."""
    history = _indices("SPX", "COMP", "2008-01-02", count, late=min(250, count // 2))
    return World.of(history, "SPX", "COMP", DAILY, count)


@functools.cache
def pair_world(count: int) -> World:
    """Return daily bars of the S&P, with no ids but those that read two series or another bar."""
    history = _indices("SPX", "COMP", "2010-01-04", count + _PAST)
    return World.of(history, "SPX", "COMP", DAILY, count, about=("pair_", "@", "*", "~", "%"))


@functools.cache
def hourly_world(count: int) -> World:
    """Return drawn bars of ES around the clock, so that many are out of session; those of NQ have holes.

    The last of them go over the half days of July 2018; three times some days in a row are without a bar.
    """
    end = np.arange(utc("2018-03-01 00:00"), utc("2018-07-20 00:00"), 60 * MINUTE, dtype=np.int64)
    last = len(end) - np.arange(len(end))
    end = end[~((last > 100) & (last < 1_000) & (last % 330 < 75))]
    bars = {}
    for symbol, seed in (("ES", 7), ("NQ", 8)):
        drawn = random_bars(end, HOURLY, symbol=symbol, seed=seed)
        raised = {name: 1_000.0 + getattr(drawn, name) for name in ("open", "high", "low", "close")}
        bars[SeriesKey(symbol, HOURLY)] = replace(drawn, **raised)
    bars[SeriesKey("NQ", HOURLY)] = with_holes(bars[SeriesKey("NQ", HOURLY)], _HOLES, 3)
    history = History(bars=bars, markets={each: BOOK.market(each) for each in ("ES", "NQ")})
    return World.of(history, "ES", "NQ", HOURLY, count)


WORLDS: dict[str, Callable[[int], World]] = {
    "daily": daily_world,
    "young": young_world,
    "pair": pair_world,
    "hourly": hourly_world,
}


def specs(world: World, seed: int, count: int, *, conditions: int | None = None) -> list[RulesConfig]:
    """Return specs for a world, the n-th drawn from (seed, n); `conditions`: how many each has, or any."""
    return [drawn(world, np.random.default_rng((seed, number)), conditions) for number in range(count)]


def drawn(world: World, random: Random, conditions: int | None = None) -> RulesConfig:
    """Return one spec; what the rules of specs forbid is drawn anew."""
    while True:
        content = _content(world, random, conditions)
        try:
            found = strategy_of(content, where="drawn")
        except ConfigError:
            continue
        assert isinstance(found, RulesConfig)
        return found


@dataclass(kw_only=True)
class _Draw:
    """One spec in the making: its few ids, so that a tree reads some of them more than once."""

    world: World
    random: Random
    ids: tuple[str, ...]
    score: Floats | None = None

    def chance(self, probability: float) -> bool:
        return bool(self.random.random() < probability)

    def one(self, options: Any) -> Any:
        return options[int(self.random.integers(len(options)))]

    def values(self, feature_id: str) -> Floats:
        found = self.world.columns[:, self.world.ids.index(feature_id)]
        return found[~np.isnan(found)]

    def constant(self, values: Floats, quantile: float, digits: int = 4) -> float:
        at = float(np.quantile(values, min(max(quantile, 0.0), 1.0))) if values.size else 0.5
        return float(f"{at:.{self.one((2, 3, digits))}g}")

    def tree(self, leaves: int, often: float, levels: int = 4) -> Content:
        """Return a condition of so many comparisons that holds about as often as `often`."""
        if self.chance(0.1) and levels > 1:
            return {"not": self.tree(leaves, 1.0 - often, levels - 1)}
        if leaves == 1 or levels == 1:
            return self.leaf(often)
        parts = int(self.random.integers(2, min(leaves, 4) + 1))
        cuts = np.sort(self.random.choice(np.arange(1, leaves), parts - 1, replace=False))
        sizes = np.diff(np.concatenate(([0], cuts, [leaves]))).tolist()
        if self.chance(0.5):
            return {"all": [self.tree(size, often ** (1.0 / parts), levels - 1) for size in sizes]}
        each = 1.0 - (1.0 - often) ** (1.0 / parts)
        return {"any": [self.tree(size, each, levels - 1) for size in sizes]}

    def leaf(self, often: float) -> Content:
        kind = self.one(("low", "low", "high", "high", "between", "pair", "score", "equals"))
        name = str(self.one(self.ids))
        if kind == "pair" and len(self.ids) > 1:
            other = self.one([each for each in self.ids if each != name])
            return {"id": name, self.one(("below", "at_most", "above", "at_least")): other}
        values = self.values(name)
        if kind == "score" and self.score is not None:
            name, values, kind = "score", self.score, self.one(("low", "high"))
        if kind == "equals" and values.size:
            return {"id": name, "equals": float(f"{self.one(values):.4g}")}
        if kind == "between":
            first = float(self.random.random()) * (1.0 - often)
            low, high = self.constant(values, first), self.constant(values, first + often)
            return {"id": name, "between": sorted((low, high))}
        if kind == "high":
            return {"id": name, self.one(("above", "at_least")): self.constant(values, 1.0 - often)}
        return {"id": name, self.one(("below", "at_most")): self.constant(values, often)}

    def weights(self) -> list[Content]:
        names = self.random.permutation(self.ids)[: int(self.random.integers(1, min(8, len(self.ids)) + 1))]
        sum_ = np.zeros(len(self.world.columns))
        found = []
        for name in names.tolist():
            spread = float(np.std(self.values(name))) if self.values(name).size else 1.0
            weight = float(f"{self.random.normal() / (spread or 1.0):.3g}")
            sum_ += weight * self.world.columns[:, self.world.ids.index(name)]
            found.append({"id": name, "weight": weight})
        self.score = sum_[~np.isnan(sum_)]
        return found

    def distance(self) -> Content:
        if self.chance(0.5):
            return {"percent": self.one((0.2, 0.5, 1.0, 2.0))}
        return {"atr": self.one((0.5, 1.0, 2.5)), "feature": self.one(("atr_14", "atr_20"))}


def _content(world: World, random: Random, conditions: int | None) -> Content:
    ids = tuple(random.permutation(world.ids)[: int(random.integers(2, 12))].tolist())
    draw = _Draw(world=world, random=random, ids=ids)
    content: Content = {"family": "rules", "name": "drawn", "timeframe": str(world.timeframe)}
    if draw.chance(0.4):
        content["score"] = draw.weights()
    sides = draw.one((("long",), ("short",), ("long", "short"), ("long", "short")))
    total = conditions or int(random.integers(2, 2 * MOST * len(sides) // 2 + 1))
    for side, leaves in zip(sides, _shares(total, len(sides)), strict=True):
        into = max(1, min(leaves - 1, int(random.integers(1, leaves + 1)))) if leaves > 1 else 1
        content[f"{side}_entry"] = draw.tree(into, float(random.uniform(0.03, 0.4)))
        if leaves > into:
            content[f"{side}_exit"] = draw.tree(leaves - into, float(random.uniform(0.1, 0.6)))
    if "score" in content and '"score"' not in repr(content).replace("'", '"').replace('"score":', ""):
        del content["score"]
    content |= dict(_rest(draw, exits=all(f"{side}_exit" in content for side in sides)))
    # Not drawn: the numbers of the specs that other tests name stay what they are.
    if "size" in content and total % 3 == 0:
        content["size"] = {**content["size"], "by_regime": BY_REGIME}
    return content


def _shares(total: int, sides: int) -> list[int]:
    return [total] if sides == 1 else [total // 2, total - total // 2]


def _rest(draw: _Draw, *, exits: bool) -> Iterator[tuple[str, Any]]:
    """Yield what a spec has beside its conditions."""
    if not exits or draw.chance(0.3):
        yield "max_bars", int(draw.random.integers(1, 9))
    if draw.chance(0.3):
        yield "stop", draw.distance()
    if draw.chance(0.3):
        yield "target", draw.distance()
    if draw.chance(0.3):
        low, high = sorted(
            draw.constant(draw.values(draw.ids[0]), float(each)) for each in draw.random.random(2)
        )
        side = draw.one(("long", "short", "both"))
        yield "filters", [{"feature": draw.ids[0], "min": low, "max": high, "side": side}]
    if draw.chance(0.2):
        yield "features", [draw.one(draw.world.ids)]
    if draw.chance(0.2):
        name = draw.one(draw.world.ids)
        yield "veto", {"id": name, "at_least": draw.constant(draw.values(name), 0.3)}
    if draw.chance(0.2):
        yield "execution", "close"
    if draw.chance(0.4):
        yield "size", draw.one((
            {"kind": "fixed", "contracts": 2},
            {"kind": "risk", "risk": 0.02, "feature": "atr_14"},
            {"kind": "volatility", "target": 0.4, "feature": "realised_vol_20_252"},
        ))  # fmt: skip
    if draw.chance(0.2):
        yield "max_age", {"bars": 0, "days": 0}
    if not draw.world.timeframe.is_session:
        if draw.chance(0.3):
            yield "window", {"start": "19:00", "end": draw.one(("09:00", "15:00"))}
        if draw.chance(0.3):
            yield "auto_close", draw.one(("16:00", "12:00"))
