"""Smaller sizes of a portfolio, in whole steps of each instrument, and the largest that a rule accepts."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from lockstep.market.bars import Flags
from lockstep.portfolio.config import PortfolioConfig, smallest_step
from research.sweep.portfolio import PortfolioGround

_WHOLE = 1e-9
_PERCENTS = range(99, 0, -1)


@dataclass(frozen=True, kw_only=True)
class SmallerSize:
    """A portfolio at `scale` times its sizes; `units` and `weights` by symbol, 0 where a lane is left out."""

    scale: float
    config: PortfolioConfig
    units: Mapping[str, float]
    weights: Mapping[str, float]

    @property
    def sizes(self) -> str:
        """Sizes by lane, in words."""
        units = [f"{symbol} {each:.10g} units" for symbol, each in self.units.items()]
        return ", ".join([*units, *(f"{symbol} weight {each:.4g}" for symbol, each in self.weights.items())])


def without_lanes(config: PortfolioConfig, gone: Collection[str]) -> PortfolioConfig:
    """Return a portfolio without some of its lanes, in ranking, groups and correlation, too."""
    if not gone:
        return config
    content = config.model_dump()
    content["lanes"] = [each for each in content["lanes"] if each["symbol"] not in gone]
    content["rank"]["order"] = [each for each in content["rank"]["order"] if each not in gone]
    groups = {}
    for name, group in content["groups"].items():
        group["symbols"] = [each for each in group["symbols"] if each not in gone]
        if group["symbols"]:
            groups[name] = group
    content["groups"] = groups
    if content["correlation"] is not None:
        symbols = content["correlation"]["symbols"]
        kept = [place for place, each in enumerate(symbols) if each not in gone]
        matrix = content["correlation"]["matrix"]
        content["correlation"] = {
            "symbols": [symbols[each] for each in kept],
            "matrix": [[matrix[one][other] for other in kept] for one in kept],
        }
    return PortfolioConfig.model_validate(content)


def at_scale(config: PortfolioConfig, scale: float, steps: Mapping[str, float]) -> SmallerSize | None:
    """Return a portfolio at `scale` times its sizes; None where no lane is left.

    steps   size step of each instrument, contracts: units are rounded down to a multiple of it
    """
    units, weights, lanes = {}, {}, []
    for lane in config.lanes:
        if lane.units is None:
            assert lane.weight is not None
            weights[lane.symbol] = scale * lane.weight
            lanes.append(lane.model_copy(update={"weight": weights[lane.symbol]}))
            continue
        step = smallest_step(lane.members, steps[lane.symbol])
        count = math.floor(scale * lane.units / step + _WHOLE)
        units[lane.symbol] = count * step if step >= 1.0 else count / math.floor(1.0 / step + 0.5)
        lanes.append(lane.model_copy(update={"units": units[lane.symbol]}))
    gone = {symbol for symbol, each in units.items() if each == 0.0}
    if len(gone) == len(lanes):
        return None
    smaller = without_lanes(config, gone).model_dump()
    smaller["lanes"] = [each.model_dump() for each in lanes if each.symbol not in gone]
    return SmallerSize(
        scale=scale,
        config=PortfolioConfig.model_validate(smaller),
        units=dict(sorted(units.items())),
        weights=dict(sorted(weights.items())),
    )


def largest_size(
    config: PortfolioConfig, steps: Mapping[str, float], accepts: Callable[[PortfolioConfig], bool]
) -> SmallerSize | None:
    """Return the largest size, in whole percents of the present one, that is accepted; None for no size.

    Every percent from 99 down is tried, unless its sizes are those of the one before: what limits and whole
    contracts make of a size need not fall with it.
    """
    before: object = None
    for percent in _PERCENTS:
        smaller = at_scale(config, percent / 100.0, steps)
        if smaller is None:
            return None
        if smaller.config.lanes == before:
            continue
        before = smaller.config.lanes
        if accepts(smaller.config):
            return smaller
    return None


def kept_lanes(ground: PortfolioGround, config: PortfolioConfig) -> Flags:
    """Return which lanes of a ground a portfolio has, bool (n,)."""
    return np.array([each in config.names for each in ground.symbols], dtype=np.bool_)


def narrowed(ground: PortfolioGround, kept: Flags) -> PortfolioGround:
    """Return the ground of some of its lanes, bool (n,); sets in which none of them has a bar stay."""
    if kept.all():
        return ground
    return replace(
        ground,
        symbols=tuple(symbol for symbol, stays in zip(ground.symbols, kept, strict=True) if stays),
        rows=np.ascontiguousarray(ground.rows[:, kept]),
        base=ground.base[kept],
        margins=np.ascontiguousarray(ground.margins[:, kept]),
    )
