"""Variants of a strategy as arrays: those of one shape side by side, what they do not use left out.

The shape of a configuration is what its rules read: the ids of its vector, whether there is a stop, a
target, a window, a longest hold, and so on. Slots that are absent in all variants of a shape become
literals in the generated loop, so that the compiler drops the code that would read them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from lockstep.market.bars import Floats
from lockstep.market.history import Market
from lockstep.strategy.config import ACCEPT_ALL, StrategyConfig

Parts = tuple[tuple[float, ...], ...]

# What passes every value; compiled code cannot index an empty tuple.
_NO_FILTER = (0.0, -math.inf, math.inf, 0.0)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the generated loop for a group of variants depends on.

    width      ids of the vector
    slots      per number of rules, filters, sizing and exits: a literal, or None where it varies
    lengths    how many of the slots are rules, filters, sizing, exits
    """

    width: int
    at_close: bool
    always_open: bool
    slots: tuple[str | None, ...]
    lengths: tuple[int, ...]

    @property
    def name(self) -> str:
        """Return a short name that is the same for equal shapes."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class VariantGroup:
    """Variants that share ids, clock and shape.

    positions    (V,) where the variants stand in the list that was asked for
    parameters   float64 (V, slots): rules, filters, sizing and exits of each
    """

    config: StrategyConfig
    shape: Shape
    positions: tuple[int, ...]
    parameters: Floats


def parameters_of(config: StrategyConfig, market: Market, threshold: float) -> Parts:
    """Return what `decide`, `contracts` and `entry_order` read: rules, filters, sizing, exits."""
    return (
        tuple(config.rules(market.session, threshold).tolist()),
        tuple(config.filter_rules().tolist()) or _NO_FILTER,
        config.sizing_rules(market.instrument),
        config.exit_rules(),
    )


def literal(value: float) -> str | None:
    """Return how an absent number is spelled in the generated loop; None for any other."""
    if math.isnan(value):
        return "NAN"
    return {math.inf: "INF", -math.inf: "-INF"}.get(value)


def group_variants(
    configs: Sequence[StrategyConfig], market: Market, *, always_open: bool, threshold: float = ACCEPT_ALL
) -> list[VariantGroup]:
    """Return the variants in groups of one shape, in order of first appearance.

    always_open   every bar is in session; then only a window or an auto-close reads the clock
    """
    grouped: dict[object, list[tuple[int, Parts]]] = {}
    for position, config in enumerate(configs):
        parts = parameters_of(config, market, threshold)
        absent = tuple(
            [None if -math.inf < number < math.inf else literal(number) for part in parts for number in part]
        )
        key = (
            config.feature_ids, config.auto_close, config.window is None, config.execution, config.capital,
            config.max_age, len(config.filters), config.size.kind, absent,
        )  # fmt: skip
        grouped.setdefault(key, []).append((position, parts))
    return [_group(configs, members, always_open) for members in grouped.values()]


def _group(
    configs: Sequence[StrategyConfig], members: list[tuple[int, Parts]], always_open: bool
) -> VariantGroup:
    config = configs[members[0][0]]
    parts = members[0][1]
    shape = Shape(
        width=len(config.feature_ids),
        at_close=config.execution == "close",
        always_open=always_open and config.window is None and config.auto_close is None,
        slots=tuple(literal(number) for part in parts for number in part),
        lengths=tuple(map(len, parts)),
    )
    return VariantGroup(
        config=config,
        shape=shape,
        positions=tuple(position for position, _ in members),
        parameters=np.array([list(chain(*each)) for _, each in members], dtype=np.float64),
    )
