"""The compiled twin of the engine: where a variant enters, and what becomes of an entry.

Nothing here is a rule of trading. `hold` is the order of events that `ParityStrategy` and `SimulatedBroker`
have in Backtrader: send, fill, decide, mark. What `decide` says while flat depends on the entry rules alone,
and what becomes of an entry on the exit rules alone, so that variants which share the one or the other share
the work. Each stage is handed NaN in place of the numbers that belong to the other one: a `decide` that
read them would trade differently from Backtrader, and the equality tests would say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import kernel, uncounted
from lockstep.market.bars import Floats
from lockstep.strategy.decision import (
    CLEAR,
    ENTER_LONG,
    ENTER_SHORT,
    EXIT_MAX_BARS,
    EXIT_ROLL,
    EXIT_SESSION,
    EXIT_SIGNAL,
    IN_SESSION,
    PASS,
    Clock,
)
from lockstep.strategy.matching import (
    CASH,
    CLOSE,
    MULTIPLIER,
    NO_FILL,
    NO_ORDER,
    OPEN,
    Account,
    Bar,
    Costs,
    Order,
    equity,
    execute,
    market_price,
    match,
)
from lockstep.strategy.sizing import Exits, Sizing, contracts, entry_order

Sides = NDArray[np.uint8]
Numbers = NDArray[np.int32]
Decide = Callable[..., int]
# Highest and lowest equity of an open trade, and the deepest fall in between, USD.
Marks = tuple[float, float, float]

LONG, SHORT = 1, 2

# What became of an entry: signed contracts (0: nothing was traded), fill prices, the marks until it is flat
# (highest and lowest, USD against the cash before it; deepest fall), bars of the entry and of the exit fill,
# the latter and a half for a stop or a target that was met within the bar.
SIZE, ENTRY, EXIT, HIGH, LOW, FALL, OPENED, CLOSED = range(8)
OUTCOME = 8

FILL_BAR, FILL_KIND, FILL_QUANTITY, FILL_PRICE, FILL_DECISION, FILL_CODE = range(6)
FILL_COLUMNS = 6

# What passes every value; compiled code cannot index an empty tuple.
NO_FILTER = (0.0, -math.inf, math.inf, 0.0)


@uncounted
def add_fill(
    fills: Floats, count: int, bar: int, kind: int, quantity: float, price: float, decision: int, code: int
) -> int:
    """Write one fill and return how many there are."""
    fills[count, FILL_BAR] = bar
    fills[count, FILL_KIND] = kind
    fills[count, FILL_QUANTITY] = quantity
    fills[count, FILL_PRICE] = price
    fills[count, FILL_DECISION] = decision
    fills[count, FILL_CODE] = code
    return count + 1


@uncounted
def clock_at(clock: Floats, row: int) -> Clock:
    """Return the clock reading of a bar; an array of one row holds for all bars."""
    number = row if clock.shape[0] > 1 else 0
    return (clock[number, 0], clock[number, 1], clock[number, 2])


@uncounted
def bar_at(bars: Floats, i: int) -> Bar:
    """Return open, high, low, close of a bar."""
    return (bars[i, 0], bars[i, 1], bars[i, 2], bars[i, 3])


@kernel
def market_order(quantity: float) -> Order:
    """Return an order without stop and target."""
    return (quantity, math.nan, math.nan, math.nan, math.nan)


def find_entries(
    decide: Decide,
    row: Callable[[Floats, int], Any],
    always_open: bool,
    values: Floats,
    probability: Floats,
    clock: Floats,
    rules: Floats,
    filters: Floats,
    sides: Sides,
) -> None:
    """Write, for every bar, which entry `decide` orders there while flat.

    decide   of the variants' family
    sides    uint8 (n,): LONG, SHORT, or 0 for none
    """
    for i in range(values.shape[0]):
        time = (1.0, 0.0, 0.0) if always_open else clock_at(clock, i)
        chance = probability[i] if probability.size > 1 else PASS
        code = decide(row(values, i), chance, time, (0.0, 0.0), rules, filters)
        sides[i] = LONG if code == ENTER_LONG else SHORT if code == ENTER_SHORT else 0


@uncounted
def number_entries(sides: Sides, any_rule: Sides, entries: Numbers, first: Numbers) -> int:
    """Number the entries of R rules by their bars, a long one before a short one; returns how many there are.

    sides      uint8 (R, n), see `find_entries`; any_rule: uint8 (n,), zeroed
    entries    int32 (2 n,): the bar of each, plus n for a short one
    first      int32 (n + 1,): the first entry at or after each bar
    """
    rules, n = sides.shape
    for rule in range(rules):
        for i in range(n):
            any_rule[i] |= sides[rule, i]
    count = 0
    for i in range(n):
        first[i] = count
        if any_rule[i] & LONG:
            entries[count] = i
            count += 1
        if any_rule[i] & SHORT:
            entries[count] = i + n
            count += 1
    first[n] = count
    return count


@uncounted
def link_entries(sides: Sides, entries: Numbers, following: Numbers) -> None:
    """Write, for each of m entries, the first from it on that each of R rules takes.

    sides       uint8 (R, n), see `find_entries`
    following   int32 (R, m + 1): m where none follows, and at the end
    """
    n = sides.shape[1]
    for rule in range(sides.shape[0]):
        found = entries.size
        following[rule, found] = found
        for number in range(entries.size - 1, -1, -1):
            entry = entries[number]
            side = LONG
            if entry >= n:
                entry, side = entry - n, SHORT
            if sides[rule, entry] == side:
                found = number
            following[rule, number] = found


@uncounted
def next_side(sides: Sides, i: int) -> int:
    """Return the first entry of a rule from bar `i` on: its bar, plus n for a short one; 2 n for none."""
    n = sides.size
    while i < n and sides[i] == 0:
        i += 1
    if i == n:
        return 2 * n
    return i if sides[i] == LONG else i + n


@uncounted
def next_open_bar(always_open: bool, clock: Floats, i: int, n: int) -> int:
    """Return the first bar from `i` on that is in session; n where there is none."""
    while not always_open and i < n and clock_at(clock, i)[IN_SESSION] == 0.0:
        i += 1
    return i


# What becomes of an entry, whatever its size, a row for each bar: side of the entry that is decided there (0:
# none), bars of its fill and of the exit's, the bar that decided an exit which no stop or target was (the
# number of bars where there is none), fill prices.
SIDED, FILLED, LEFT, DECIDED, BOUGHT_AT, SOLD_AT = range(6)
FATE = 8


def tabulate(
    next_entry: Callable[..., int],
    carry_out: Callable[..., tuple[int, int]],
    spec: Any,
    values: Any,
    clock: Floats,
    bars: Floats,
    costs: Costs,
    outcome: Floats,
    fills: Floats,
    fates: Floats,
) -> None:
    """Write what becomes of each entry that a variant of one contract could take.

    next_entry, carry_out   as for `account.record`
    fills    float64 (2, 6): room for those of one entry
    fates    float64 (n, 8), zeroed; the bar of a fill that never comes is n
    """
    n = bars.shape[0]
    entry = next_entry(spec, values, clock, 0, n)
    while entry < 2 * n:
        i = entry if entry < n else entry - n
        outcome[OPENED] = outcome[CLOSED] = n
        _, count = carry_out(spec, values, clock, bars, costs, entry, outcome, 0, fills)
        fates[i, SIDED] = 1.0 if entry < n else -1.0
        fates[i, FILLED], fates[i, LEFT] = outcome[OPENED], math.floor(outcome[CLOSED])
        own = count == 2 and fills[1, FILL_KIND] == NO_FILL
        fates[i, DECIDED] = fills[1, FILL_DECISION] if own else n
        fates[i, BOUGHT_AT], fates[i, SOLD_AT] = outcome[ENTRY], outcome[EXIT]
        entry = next_entry(spec, values, clock, i + 1, n)


@uncounted
def mark(marks: Marks, account: Account, bars: Floats, first: int, stop: int, unit: float) -> Marks:
    """Return highest and lowest equity, and the deepest fall, with the closes of first <= bar < stop.

    marks   those before; unit: USD per point
    """
    high, low, fall = marks
    for i in range(first, stop):
        now = equity(account, bars[i, CLOSE], unit)
        high = max(high, now)
        low = min(low, now)
        fall = max(fall, high - now)
    return high, low, fall


def hold(
    decide: Decide,
    row: Callable[[Floats, int], Any],
    record: bool,
    at_close: bool,
    always_open: bool,
    values: Floats,
    clock: Floats,
    bars: Floats,
    costs: Costs,
    rules: Floats,
    filters: Floats,
    sizing: Sizing,
    exits: Exits,
    entry: int,
    outcome: Floats,
    count: int,
    fills: Floats,
) -> tuple[int, int]:
    """Carry out an entry until the variant is flat again: (bar that decides next, fills so far).

    decide        of the variants' family
    row           gives the vector of a bar as a tuple, which stays in registers
    record        also write every fill
    at_close      orders fill at the close of the bar that decided them
    always_open   every bar is in session, and no rule reads the clock
    entry         its bar, plus n for a short one
    outcome       float64 (8,), written; exit price NaN, bar n where the bars end before
    """
    n = bars.shape[0]
    i = entry if entry < n else entry - n
    side = 1.0 if entry < n else -1.0
    outcome[SIZE] = 0.0
    quantity = side * contracts(row(values, i), bars[i, CLOSE], sizing)
    if quantity == 0.0:
        return i + 1, count
    order: Order = entry_order(quantity, row(values, i), exits)
    flat: Account = (0.0, math.nan, math.nan, math.nan, 0.0)
    decided, code = i, ENTER_LONG if entry < n else ENTER_SHORT
    kind, sold = NO_FILL, math.nan
    if at_close:
        bought = market_price(quantity, bars[i, CLOSE], costs)
        account = execute(flat, order, bought, costs)
        closed = account
    else:
        i = next_open_bar(always_open, clock, i + 1, n)
        if i == n:
            return n, count
        account, bought, closed, kind, sold = match(flat, order, bar_at(bars, i), costs)
    opened = i
    if record:
        count = add_fill(fills, count, i, NO_FILL, quantity, bought, decided, code)
    first = opened + 1 if at_close else opened
    unit = costs[MULTIPLIER]
    marks: Marks = (-math.inf, math.inf, 0.0)
    leaves = False
    while kind == NO_FILL:
        if i >= first:
            time = (1.0, 0.0, 0.0) if always_open else clock_at(clock, i)
            code = decide(row(values, i), PASS, time, (side, float(i - first + 1)), rules, filters)
            timed = code == EXIT_SESSION or code == EXIT_MAX_BARS or code == EXIT_ROLL
            leaves = timed or code == EXIT_SIGNAL
            if leaves:
                break
        before, i = i, next_open_bar(always_open, clock, i + 1, n)
        marks = mark(marks, account, bars, before, i, unit)
        if i == n:
            break
        _, _, closed, kind, sold = match(account, NO_ORDER, bar_at(bars, i), costs)
    following = i
    if leaves:
        decided = i
        order = market_order(-quantity)
        if at_close:
            sold = market_price(-quantity, bars[i, CLOSE], costs)
            closed = execute(account, order, sold, costs)
            following = i + 1
        else:
            i = next_open_bar(always_open, clock, i + 1, n)
            marks = mark(marks, account, bars, following, i, unit)
            following = i
            if i < n:
                _, sold, closed, _, _ = match(account, order, bar_at(bars, i), costs)
    if record and sold == sold:
        count = add_fill(fills, count, i, kind, -quantity, sold, decided, code if leaves else CLEAR)
    high, low, fall = marks
    if opened == i:
        high, low = closed[CASH], closed[CASH]
    outcome[SIZE], outcome[ENTRY], outcome[EXIT] = quantity, bought, sold
    outcome[HIGH], outcome[LOW], outcome[FALL] = high, low, fall
    outcome[OPENED], outcome[CLOSED] = float(opened), float(i)
    if kind != NO_FILL:
        gap = sold == bars[i, OPEN] or sold == market_price(-quantity, bars[i, OPEN], costs)
        outcome[CLOSED] += 0.0 if gap and not at_close else 0.5
    return following, count
