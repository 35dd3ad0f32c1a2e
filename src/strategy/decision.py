"""What every family of strategies shares in a decision: its outcomes, and the gates before an entry.

A decision is one whole number. Below COLUMN_CODES it is one of the constants here; above, it carries
the column, the filter or the portfolio's rule that it is about, so that each decision can be counted and
explained.

Arguments of a `decide`, all float64:

    values        (k,) feature values in the order of the strategy's ids, NaN for missing
    probability   the model's probability that the trade wins, 0 to 1; PASS without a model
    clock         (in session 0/1, minute of the session, past the auto-close 0/1, or how near a roll is:
                  ROLL_AHEAD, ROLL_NEXT)
    holding       (side +1, 0 or -1, bars held: 1 at the close of the bar of the entry fill at the open)
    rules         flat array: the slots below, then those of the family from FAMILY on
    filters       flat, four per filter: column in `values`, smallest, largest (inclusive), side (+1, -1, 0)

Every array may also be a tuple: the sweep passes tuples, which compiled code keeps in registers.
"""

from __future__ import annotations

import math

from lockstep.compiled import uncounted
from lockstep.market.bars import Floats
from lockstep.market.rolls import AHEAD, NEXT

Clock = tuple[float, float, float]
Holding = tuple[float, float]

IN_SESSION, MINUTE, PAST_AUTO_CLOSE = range(3)
SIDE, BARS_HELD = range(2)
THRESHOLD, WINDOW_START, WINDOW_END, MAX_BARS, FAMILY = range(5)
FILTER_COLUMN, FILTER_LOW, FILTER_HIGH, FILTER_SIDE = range(4)
FILTER_SLOTS = 4

ROLL_AHEAD = AHEAD
"""An order of this bar may be the last one that fills in the contract: it leaves, and nothing is entered."""
ROLL_NEXT = NEXT
"""An order of this bar fills in the next contract: what is held leaves late, and entries are free."""

PASS = 1.0

CLEAR = 0
HOLD = 1
ENTER_LONG = 2
ENTER_SHORT = 3
EXIT_SIGNAL = 4
EXIT_SESSION = 5
EXIT_MAX_BARS = 6
NO_SIGNAL = 7
OUTSIDE_SESSION = 8
OUTSIDE_WINDOW = 9
AFTER_AUTO_CLOSE = 10
VETO = 11
SIZE_ZERO = 12
ORDER_WAITING = 13
EXIT_HANDOVER = 14
EXIT_HALT = 15
AMBIGUOUS = 16
EXIT_DAILY_LOSS = 17
EXIT_ROLL = 18
BEFORE_ROLL = 19
COLUMN_CODES = 1_000
MISSING = 1_000
FILTERED = 2_000
REFUSED = 3_000

NAMES = {
    HOLD: "hold",
    ENTER_LONG: "enter long",
    ENTER_SHORT: "enter short",
    EXIT_SIGNAL: "signal",
    EXIT_SESSION: "session",
    EXIT_MAX_BARS: "max bars",
    NO_SIGNAL: "no signal",
    OUTSIDE_SESSION: "outside session",
    OUTSIDE_WINDOW: "outside window",
    AFTER_AUTO_CLOSE: "after auto-close",
    VETO: "veto",
    SIZE_ZERO: "size zero",
    ORDER_WAITING: "order waiting",
    EXIT_HANDOVER: "handover",
    EXIT_HALT: "halt",
    AMBIGUOUS: "ambiguous",
    EXIT_DAILY_LOSS: "daily loss",
    EXIT_ROLL: "roll",
    BEFORE_ROLL: "before roll",
}
ENTRIES = frozenset((ENTER_LONG, ENTER_SHORT))
EXITS = frozenset(
    (EXIT_SIGNAL, EXIT_SESSION, EXIT_MAX_BARS, EXIT_HANDOVER, EXIT_HALT, EXIT_DAILY_LOSS, EXIT_ROLL)
)


def kind_of(code: int) -> str:
    """Return what a decision does: `entry`, `exit`, `hold` or `no_trade`."""
    if code in ENTRIES:
        return "entry"
    if code in EXITS:
        return "exit"
    return "hold" if code == HOLD else "no_trade"


@uncounted
def timed_exit(clock: Clock, holding: Holding, rules: Floats) -> int:
    """Return EXIT_ROLL or EXIT_SESSION by the clock, EXIT_MAX_BARS after the longest hold, else CLEAR."""
    if clock[PAST_AUTO_CLOSE] >= ROLL_AHEAD:
        return EXIT_ROLL
    if clock[PAST_AUTO_CLOSE] != 0.0:
        return EXIT_SESSION
    if holding[BARS_HELD] >= rules[MAX_BARS]:
        return EXIT_MAX_BARS
    return CLEAR


@uncounted
def entry_gate(values: Floats, side: float, clock: Clock, rules: Floats, filters: Floats) -> int:
    """Return what forbids an entry to `side`: roll, auto-close, window, missing value, filter; else CLEAR.

    Any missing value blocks, also one that only the model reads: a vector is complete or not traded.
    """
    if clock[PAST_AUTO_CLOSE] == ROLL_AHEAD:
        return BEFORE_ROLL
    if clock[PAST_AUTO_CLOSE] == 1.0:
        return AFTER_AUTO_CLOSE
    if not rules[WINDOW_START] <= clock[MINUTE] <= rules[WINDOW_END]:
        return OUTSIDE_WINDOW
    for column in range(len(values)):
        if math.isnan(values[column]):
            return MISSING + column
    for row in range(len(filters) // FILTER_SLOTS):
        first = row * FILTER_SLOTS
        applies = filters[first + FILTER_SIDE] == 0.0 or filters[first + FILTER_SIDE] == side
        value = values[int(filters[first + FILTER_COLUMN])]
        if applies and not filters[first + FILTER_LOW] <= value <= filters[first + FILTER_HIGH]:
            return FILTERED + row
    return CLEAR
