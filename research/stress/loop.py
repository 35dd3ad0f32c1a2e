"""The loop of the gap shocks: a portfolio goes on from set to set, and at each one a gap is tried.

What comes before a gap is the run itself, so that only the bars of the gap are worked out, from where the
account is. History ends with them: each lane's first bar from that set on opens at the gap and is its last
one. What decides there can fill nowhere, so that nothing but fills and marks is left to do; and those are
`match` and `total_equity`, as everywhere (`tests/contract/test_stress_gaps.py`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import uncounted
from lockstep.market.bars import Floats
from lockstep.portfolio import rules
from lockstep.portfolio.kernels import total_equity
from lockstep.strategy.matching import (
    CLOSE,
    ENTRY_PRICE,
    NO_ORDER,
    POSITION,
    STOP,
    TARGET,
    Account,
    Costs,
    execute,
    match,
)
from research.sweep.kernels import DECIDED, bar_at, market_order
from research.sweep.portfolio_loop import (
    BAR_IN_SESSION,
    ENTERED,
    FORCED,
    FollowArguments,
    Places,
    account_of,
    follow,
    write_account,
)

Marks = NDArray[np.uint8]

# Distances of an entry's stop and target from its fill, see `matching.Order`: fraction and points of each.
STOP_FRACTION, STOP_POINTS, TARGET_FRACTION, TARGET_POINTS = range(4)
DISTANCES = 4

_FLAT: Account = (0.0, math.nan, math.nan, math.nan, 0.0)


@uncounted
def meet(
    i: int, row: int, forced: bool, decided: bool, entered: int, quantity: float, bars: Floats,
    distances: Floats, costs: Costs, accounts: Floats,
) -> None:  # fmt: skip
    """Carry out what fills in lane i at `row` of its changed bars, in session.

    forced, decided   whether an exit waits: one that the account required, one of the strategy
    entered   row of the bar that decided the entry, -1 for none; quantity: contracts that wait or are held
    bars      float64 (b, 4), changed; distances: float64 (b, 4), of an entry that each bar decides
    """
    account, bar = account_of(accounts, i), bar_at(bars, row)
    if account[POSITION] == 0.0:
        if entered >= 0:
            order = (
                quantity, distances[entered, STOP_FRACTION], distances[entered, STOP_POINTS],
                distances[entered, TARGET_FRACTION], distances[entered, TARGET_POINTS],
            )  # fmt: skip
            write_account(accounts, i, match(account, order, bar, costs)[2])
        return
    if forced or decided:
        write_account(accounts, i, match(account, market_order(-account[POSITION]), bar, costs)[2])
        return
    order = (
        account[POSITION], distances[entered, STOP_FRACTION], distances[entered, STOP_POINTS],
        distances[entered, TARGET_FRACTION], distances[entered, TARGET_POINTS],
    )  # fmt: skip
    levels = execute(_FLAT, order, account[ENTRY_PRICE], costs)
    held = (account[0], account[1], levels[STOP], levels[TARGET], account[4])
    write_account(accounts, i, match(held, NO_ORDER, bar, costs)[2])


@uncounted
def gap(
    s: int, given: FollowArguments, following: Places, bars: Floats, distances: Floats, highest: float,
    accounts: Floats, lanes: Floats,
) -> tuple[float, float]:  # fmt: skip
    """Return (equity after the gap at set s, deepest fall below `highest` or a later high on the way), USD.

    following   int32 (S, n): the set of each lane's first bar from set s on, S for none
    bars        float64 (b, 4): every bar as the gap would have it
    accounts, lanes   written: room for the state of `given`
    """
    sets, n = given.rows.shape
    for i in range(n):
        write_account(accounts, i, account_of(given.accounts, i))
        for slot in range(rules.LANE):
            lanes[i, slot] = given.lanes[i, slot]
    total, fall, now = given.state[rules.EQUITY], 0.0, s
    while now < sets:
        later = sets
        for i in range(n):
            when = following[s, i]
            if when > now and when < later:
                later = when
            if when != now:
                continue
            here, first, entered = given.rows[now, i], given.base[i], given.under_way[i, ENTERED]
            if given.bars[first + here, BAR_IN_SESSION] != 0.0:
                decided = entered >= 0 and given.table[first + entered, DECIDED] < here
                meet(
                    i, first + here, given.under_way[i, FORCED] == here, decided,
                    first + entered if entered >= 0 else -1, lanes[i, rules.ROOM], bars, distances,
                    given.costs[i], accounts,
                )  # fmt: skip
            lanes[i, rules.CLOSE] = bars[first + here, CLOSE]
        total = total_equity(given.reserve, accounts, lanes, given.terms)
        highest = max(highest, total)
        fall = max(fall, highest - total)
        now = later
    return total, fall


@uncounted
def try_gaps(
    given: FollowArguments, arguments: tuple[Any, ...], following: Places, bars: Floats, distances: Floats,
    accounts: Floats, lanes: Floats, is_open: Marks, before: Floats, after: Floats, falls: Floats,
) -> float:  # fmt: skip
    """Trade a portfolio, and try every gap at each set before which it holds something.

    given       as at the start; arguments: the same as a plain tuple, which compiled code can unpack
    following   int32 (S, n), see `gap`
    bars        float64 (K, b, 4): every bar as each of K gaps would have it
    accounts, lanes   float64 (n, 5) and (n, 4), written: room for a state
    is_open     uint8 (S,): whether something is held before the set; before: float64 (S,), equity there
    after, falls   float64 (K, S): equity after a gap, and the deepest fall of a history that ends with it;
                   NaN where nothing is held
    Returns the deepest fall without any gap. All in USD.
    """
    sets, n = given.rows.shape
    highest, deepest = given.state[rules.EQUITY], 0.0
    for s in range(sets):
        before[s] = given.state[rules.EQUITY]
        is_open[s] = 0
        for i in range(n):
            if given.accounts[i, POSITION] != 0.0:
                is_open[s] = 1
        for k in range(bars.shape[0]):
            after[k, s] = falls[k, s] = math.nan
            if is_open[s] != 0:
                after[k, s], fall = gap(s, given, following, bars[k], distances, highest, accounts, lanes)
                falls[k, s] = max(deepest, fall)
        follow(s, s + 1, *arguments)
        highest = max(highest, given.state[rules.EQUITY])
        deepest = max(deepest, highest - given.state[rules.EQUITY])
    return deepest
