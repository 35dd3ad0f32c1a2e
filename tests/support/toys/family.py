"""A family of strategies: follow the faster of two moving averages.

In the folder `families` of a desk this file is all that it takes: backtest, search, training, bundles,
certificate and live engine know no family by name.
"""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import PositiveInt, model_validator

from lockstep.compiled import kernel
from lockstep.market.bars import Floats
from lockstep.strategy.config import Finite, StrategyConfig
from lockstep.strategy.decision import (
    CLEAR,
    ENTER_LONG,
    ENTER_SHORT,
    EXIT_SIGNAL,
    FAMILY,
    HOLD,
    IN_SESSION,
    MISSING,
    NO_SIGNAL,
    OUTSIDE_SESSION,
    SIDE,
    THRESHOLD,
    VETO,
    Clock,
    Holding,
    entry_gate,
    timed_exit,
)
from lockstep.strategy.family import Family, register

SPREAD, SLOPE = 0, 1
LONG_ABOVE, SHORT_BELOW, EXIT_SPREAD = FAMILY, FAMILY + 1, FAMILY + 2


class MaCrossConfig(StrategyConfig):
    """Trades in the direction of the faster average, while the slower one moves that way too.

    fast, slow   bars of the two simple moving averages
    direction    sides that may be entered
    entry_atr    distance of the averages, in ATRs, that an entry needs
    exit_atr     distance at which a position is left; below 0 only after the averages have crossed back
    """

    family: Literal["ma_cross"] = "ma_cross"
    fast: PositiveInt = 10
    slow: PositiveInt = 50
    direction: Literal["long", "short", "both"] = "both"
    entry_atr: Finite = 0.2
    exit_atr: Finite = 0.0

    @model_validator(mode="after")
    def _fast_is_faster(self) -> Self:
        if self.fast >= self.slow:
            raise ValueError(f"fast {self.fast}: must be below slow, {self.slow}")
        return self

    @property
    def signal_ids(self) -> tuple[str, ...]:
        """Distance of the averages and slope of the slower one, both in ATRs."""
        return (f"sma_spread_atr_{self.fast}_{self.slow}_14", f"sma_slope_atr_{self.slow}_5_14")

    @property
    def family_rules(self) -> tuple[float, ...]:
        """Smallest spread of a long entry, largest of a short one, and the spread of an exit."""
        return (
            self.entry_atr if self.direction != "short" else math.inf,
            -self.entry_atr if self.direction != "long" else -math.inf,
            self.exit_atr,
        )

    @property
    def exit_slots(self) -> tuple[int, ...]:
        """The last one."""
        return (EXIT_SPREAD - FAMILY,)


@kernel
def decide(
    values: Floats, probability: float, clock: Clock, holding: Holding, rules: Floats, filters: Floats
) -> int:
    """Return the decision at a completed bar; arguments and codes as in `decision.py`."""
    if clock[IN_SESSION] == 0.0:
        return OUTSIDE_SESSION
    spread, slope = values[SPREAD], values[SLOPE]
    if holding[SIDE] != 0.0:
        if spread * holding[SIDE] <= rules[EXIT_SPREAD]:
            return EXIT_SIGNAL
        due = timed_exit(clock, holding, rules)
        if due != CLEAR:
            return due
        return MISSING + SPREAD if math.isnan(spread) else HOLD
    if math.isnan(spread) or math.isnan(slope):
        return MISSING + (SPREAD if math.isnan(spread) else SLOPE)
    if spread >= rules[LONG_ABOVE] and slope > 0.0:
        side = 1.0
    elif spread <= rules[SHORT_BELOW] and slope < 0.0:
        side = -1.0
    else:
        return NO_SIGNAL
    reason = entry_gate(values, side, clock, rules, filters)
    if reason != CLEAR:
        return reason
    if not probability >= rules[THRESHOLD]:
        return VETO
    return ENTER_LONG if side > 0.0 else ENTER_SHORT


MA_CROSS = register(
    Family(
        config=MaCrossConfig,
        decide=decide,
        entry=("direction", "entry_atr"),
        exit=("exit_atr",),
        layout=("fast", "slow"),
        related=(("fast", "slow"),),
        typical={
            "fast": (5, 10, 20),
            "slow": (20, 50),
            "direction": ("long", "short", "both"),
            "entry_atr": (0.0, 0.2, 0.5),
            "exit_atr": (-0.2, 0.0, 0.2),
        },
    )
)
