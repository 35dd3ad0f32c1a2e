"""Order size and protective distances, from configured capital and decision-time features only."""

from __future__ import annotations

import math

import numpy as np

from lockstep.compiled import kernel, uncounted
from lockstep.market.bars import Floats
from lockstep.strategy.matching import Order

Sizing = tuple[float, float, float, float, float, float, float, float, float, float]
Exits = tuple[float, float, float, float, float, float]

FIXED, POINTS_AT_RISK, ANNUAL_VOLATILITY = 0.0, 1.0, 2.0
MODE, AMOUNT, COLUMN, UNIT, STEP, REGIME, BEAR, SIDEWAYS, BULL, HIGH_VOLATILITY = range(10)
SIZING = 10
STOP_PART, STOP_MULTIPLE, STOP_COLUMN, TARGET_PART, TARGET_MULTIPLE, TARGET_COLUMN = range(6)
EVERY_REGIME = (math.nan, math.nan, math.nan, math.nan, math.nan)
"""The slots from REGIME on of a size that is the same in all regimes."""

_WHOLE = 1e-9


@uncounted
def contracts(values: Floats, close: float, sizing: Sizing) -> float:
    """Return how many contracts to trade, >= 0, a multiple of the instrument's step, rounded down.

    sizing = (mode, amount, column, multiplier, step, regime column, then the factor in each regime):
    FIXED: `amount` contracts. POINTS_AT_RISK: `amount` USD over a move of `values[column]` points.
    ANNUAL_VOLATILITY: `amount` USD of yearly standard deviation over `values[column]`, a fraction of the
    price per year. A denominator that is not positive gives 0. All times the factor of the regime that
    `values[regime column]` names; a regime column of NaN: the same in all.
    """
    return sized(measured(values, sizing), close, sizing)


@kernel
def all_contracts(vectors: Floats, closes: Floats, sizing: Sizing) -> Floats:
    """Return `contracts` of each of n vectors, float64 (n, k), at its close, float64 (n,): float64 (n,)."""
    found = np.empty(len(vectors))
    for i in range(len(vectors)):
        found[i] = contracts(vectors[i], closes[i], sizing)
    return found


@uncounted
def measured(values: Floats, sizing: Sizing) -> float:
    """Return what a size is worked out from: all that `sized` reads of a decision vector, in one number.

    The value of the sizing's column over the factor of the regime, infinite for a factor of 0; of a fixed
    size the factor itself, 0.0 where it is the same in all regimes.
    """
    is_fixed = sizing[MODE] == FIXED
    if sizing[REGIME] != sizing[REGIME]:
        return 0.0 if is_fixed else values[int(sizing[COLUMN])]
    factor = regime_factor(values[int(sizing[REGIME])], sizing)
    if is_fixed:
        return factor
    return values[int(sizing[COLUMN])] / factor if factor > 0.0 else math.inf


@kernel
def measures(vectors: Floats, sizing: Sizing) -> Floats:
    """Return `measured` of each of n vectors, float64 (n, k): float64 (n,)."""
    found = np.empty(len(vectors))
    for i in range(len(vectors)):
        found[i] = measured(vectors[i], sizing)
    return found


@uncounted
def regime_factor(regime: float, sizing: Sizing) -> float:
    """Return the factor of a regime as the feature `regime` codes it; 0.0 for NaN and for any other code."""
    if regime == 1.0:
        return sizing[BULL]
    if regime == 0.0:
        return sizing[SIDEWAYS]
    if regime == -1.0:
        return sizing[BEAR]
    return sizing[HIGH_VOLATILITY] if regime == 2.0 else 0.0


@uncounted
def sized(measure: float, close: float, sizing: Sizing) -> float:
    """Return the contracts of `contracts` from what `measured` gave."""
    if sizing[MODE] == FIXED:
        wanted = sizing[AMOUNT]
        if sizing[REGIME] == sizing[REGIME]:
            wanted *= measure
    else:
        risk = measure * sizing[UNIT]
        if sizing[MODE] == ANNUAL_VOLATILITY:
            risk *= abs(close)
        if not risk > 0.0:
            return 0.0
        wanted = sizing[AMOUNT] / risk
    steps = math.floor(wanted / sizing[STEP] + _WHOLE)
    return steps * sizing[STEP] if sizing[STEP] >= 1.0 else steps / math.floor(1.0 / sizing[STEP] + 0.5)


@kernel
def multiplied(sizing: Sizing, factor: float) -> Sizing:
    """Return the sizing with `factor` times its amount; sizes are rounded down once, after it."""
    return (
        sizing[MODE], sizing[AMOUNT] * factor, sizing[COLUMN], sizing[UNIT], sizing[STEP], sizing[REGIME],
        sizing[BEAR], sizing[SIDEWAYS], sizing[BULL], sizing[HIGH_VOLATILITY],
    )  # fmt: skip


@kernel
def sizing_of(row: Floats) -> Sizing:
    """Return a row of a table of sizings, float64 (SIZING,), as the tuple."""
    return (
        row[MODE], row[AMOUNT], row[COLUMN], row[UNIT], row[STEP], row[REGIME], row[BEAR], row[SIDEWAYS],
        row[BULL], row[HIGH_VOLATILITY],
    )  # fmt: skip


@uncounted
def entry_order(quantity: float, values: Floats, exits: Exits) -> Order:
    """Return the market order for `quantity` (signed) with the distances of its stop and target.

    exits = (stop fraction, stop multiple, stop column, target fraction, target multiple, target column):
    each distance is fraction x |fill| + multiple x values[column]; a fraction of NaN means none.
    """
    stop_points = (
        exits[STOP_MULTIPLE] * values[int(exits[STOP_COLUMN])] if exits[STOP_MULTIPLE] > 0.0 else 0.0
    )
    target_points = (
        exits[TARGET_MULTIPLE] * values[int(exits[TARGET_COLUMN])] if exits[TARGET_MULTIPLE] > 0.0 else 0.0
    )
    return (quantity, exits[STOP_PART], stop_points, exits[TARGET_PART], target_points)
