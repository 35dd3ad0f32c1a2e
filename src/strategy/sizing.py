"""Order size and protective distances, from configured capital and decision-time features only."""

from __future__ import annotations

import math

from lockstep.compiled import kernel, uncounted
from lockstep.market.bars import Floats
from lockstep.strategy.matching import Order

Sizing = tuple[float, float, float, float, float]
Exits = tuple[float, float, float, float, float, float]

FIXED, POINTS_AT_RISK, ANNUAL_VOLATILITY = 0.0, 1.0, 2.0
MODE, AMOUNT, COLUMN, UNIT, STEP = range(5)
STOP_PART, STOP_MULTIPLE, STOP_COLUMN, TARGET_PART, TARGET_MULTIPLE, TARGET_COLUMN = range(6)

_WHOLE = 1e-9


@uncounted
def contracts(values: Floats, close: float, sizing: Sizing) -> float:
    """Return how many contracts to trade, >= 0, a multiple of the instrument's step, rounded down.

    sizing = (mode, amount, column, multiplier, step):
    FIXED: `amount` contracts. POINTS_AT_RISK: `amount` USD over a move of `values[column]` points.
    ANNUAL_VOLATILITY: `amount` USD of yearly standard deviation over `values[column]`, a fraction of the
    price per year. A denominator that is not positive gives 0.
    """
    if sizing[MODE] == FIXED:
        wanted = sizing[AMOUNT]
    else:
        risk = values[int(sizing[COLUMN])] * sizing[UNIT]
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
    return (sizing[MODE], sizing[AMOUNT] * factor, sizing[COLUMN], sizing[UNIT], sizing[STEP])


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
