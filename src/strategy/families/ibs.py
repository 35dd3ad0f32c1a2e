"""The IBS family: its configuration, its `decide`, and what its fields are for.

Internal bar strength mean reversion buys a close near the low of its bar and sells into a close near
the high (Pagonidis, "The IBS Effect: Mean Reversion in Equity ETFs", 2014).
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import model_validator

from lockstep.compiled import uncounted
from lockstep.market.bars import Floats
from lockstep.strategy.config import Bounds, StrategyConfig
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

SIGNAL_COLUMN = 0
NEVER = (math.inf, -math.inf)

LONG_ENTRY_LOW = FAMILY
LONG_ENTRY_HIGH = FAMILY + 1
LONG_EXIT_LOW = FAMILY + 2
LONG_EXIT_HIGH = FAMILY + 3
SHORT_ENTRY_LOW = FAMILY + 4
SHORT_ENTRY_HIGH = FAMILY + 5
SHORT_EXIT_LOW = FAMILY + 6
SHORT_EXIT_HIGH = FAMILY + 7
EXIT_SLOTS = tuple(slot - FAMILY for slot in (LONG_EXIT_LOW, LONG_EXIT_HIGH, SHORT_EXIT_LOW, SHORT_EXIT_HIGH))


class IbsConfig(StrategyConfig):
    """Settings of the IBS strategy, in addition to those that all families share (`StrategyConfig`).

    signal         id of the feature that the ranges refer to, `ibs` by default
    direction      sides that may be entered: `long`, `short` or `both`
    entry, exit    inclusive bounds of the signal at a long entry and a long exit
    short_entry, short_exit   the same for shorts

    >>> config = IbsConfig(name="ibs", entry=(0.0, 0.15), exit=(0.7, 1.0))
    >>> config.feature_ids, config.execution
    (('ibs',), 'next_open')
    """

    family: Literal["ibs"] = "ibs"
    signal: str = "ibs"
    direction: Literal["long", "short", "both"] = "long"
    entry: Bounds = (0.0, 0.2)
    exit: Bounds = (0.8, 1.0)
    short_entry: Bounds = (0.8, 1.0)
    short_exit: Bounds = (0.0, 0.2)

    @model_validator(mode="after")
    def _sides_are_apart(self) -> IbsConfig:
        overlap = self.entry[0] <= self.short_entry[1] and self.short_entry[0] <= self.entry[1]
        if self.direction == "both" and overlap:
            raise ValueError(
                "entry and short_entry overlap: with direction both, one value must mean one side"
            )
        return self

    @property
    def signal_ids(self) -> tuple[str, ...]:
        """The signal; it is the first column of the strategy's vector."""
        return (self.signal,)

    @property
    def family_rules(self) -> tuple[float, ...]:
        """The slots from FAMILY on; a side that may not be entered has empty bounds."""
        long = self.entry if self.direction != "short" else NEVER
        short = self.short_entry if self.direction != "long" else NEVER
        return (*long, *self.exit, *short, *self.short_exit)

    @property
    def exit_slots(self) -> tuple[int, ...]:
        """The slots of `exit` and `short_exit`."""
        return EXIT_SLOTS


@uncounted
def decide(
    values: Floats, probability: float, clock: Clock, holding: Holding, rules: Floats, filters: Floats
) -> int:
    """Return the decision at a completed bar; arguments and codes as in `decision.py`."""
    if clock[IN_SESSION] == 0.0:
        return OUTSIDE_SESSION
    signal = values[SIGNAL_COLUMN]
    if holding[SIDE] > 0.0:
        if rules[LONG_EXIT_LOW] <= signal <= rules[LONG_EXIT_HIGH]:
            return EXIT_SIGNAL
    elif holding[SIDE] < 0.0 and rules[SHORT_EXIT_LOW] <= signal <= rules[SHORT_EXIT_HIGH]:
        return EXIT_SIGNAL
    if holding[SIDE] != 0.0:
        due = timed_exit(clock, holding, rules)
        if due != CLEAR:
            return due
        return MISSING + SIGNAL_COLUMN if math.isnan(signal) else HOLD
    if math.isnan(signal):
        return MISSING + SIGNAL_COLUMN
    if rules[LONG_ENTRY_LOW] <= signal <= rules[LONG_ENTRY_HIGH]:
        side = 1.0
    elif rules[SHORT_ENTRY_LOW] <= signal <= rules[SHORT_ENTRY_HIGH]:
        side = -1.0
    else:
        return NO_SIGNAL
    reason = entry_gate(values, side, clock, rules, filters)
    if reason != CLEAR:
        return reason
    if not probability >= rules[THRESHOLD]:
        return VETO
    return ENTER_LONG if side > 0.0 else ENTER_SHORT


IBS = register(
    Family(
        config=IbsConfig,
        decide=decide,
        entry=("direction", "entry", "short_entry"),
        exit=("exit", "short_exit"),
        layout=("signal",),
        related=(("direction", "entry", "short_entry"),),
        typical={
            "signal": ("ibs", "ibs_prev"),
            "direction": ("long", "short", "both"),
            "entry.high": (0.1, 0.2, 0.3),
            "exit.low": (0.5, 0.65, 0.8),
            "short_entry.low": (0.7, 0.8, 0.9),
            "short_exit.high": (0.2, 0.35, 0.5),
        },
        aliases={
            "entry.high": (
                "entry_threshold",
                "buy_threshold",
                "ibs_entry",
                "entry_ibs",
                "ibs_buy",
                "ibs_low",
            ),
            "exit.low": ("exit_threshold", "sell_threshold", "ibs_exit", "exit_ibs", "ibs_sell", "ibs_high"),
        },
    )
)
