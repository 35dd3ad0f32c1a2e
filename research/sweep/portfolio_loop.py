"""The loop of a portfolio's twin: from bar set to bar set, with the kernels that Cerebro asks as well."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import uncounted
from lockstep.market.bars import Flags, Floats, Stamps
from lockstep.portfolio import rules
from lockstep.portfolio.kernels import (
    admit,
    margin_with,
    mark,
    ranked,
    scale_of,
    total_equity,
    wanted_contracts,
)
from lockstep.strategy.matching import POSITION, Account, Costs, execute, market_price
from research.sweep.kernels import BOUGHT_AT, DECIDED, FILLED, LEFT, SIDED, SOLD_AT, market_order

Places = NDArray[np.int32]

# What a set reads of a lane's bar, one line of the cache: close, points; USD a year of one contract by the
# last known volatility; what the size measures; probability and score for the ranking; open, points; the next
# bar of a session behind it; whether it is one itself.
BAR_CLOSE, BAR_RISK, BAR_MEASURE, BAR_PROBABILITY, BAR_SCORE, BAR_OPEN, BAR_NEXT, BAR_IN_SESSION = range(8)
BAR = 8

# How proposals are ranked: by a number of the lane, by a bar's probability, largest first, or by its score.
BY_LANE, BY_PROBABILITY, BY_SCORE = range(3)

# Columns of a fill: lane, its bar, signed contracts, price; whether everything open had to leave.
F_LANE, F_BAR, F_SIZE, F_PRICE, F_FORCED = range(5)
FILL = 5
# Columns of a proposal: set, place in the ranking, lane, side, contracts by the strategy's own size, scale,
# what was admitted, the rule that refused or ADMITTED, margin of all rooms with it, USD.
P_SET, P_PLACE, P_LANE, P_SIDE, P_BASE, P_SCALE, P_QUANTITY, P_RULE, P_MARGIN = range(9)
PROPOSAL = 9

# Under way in a lane: the bar that decided the entry (-1: nothing), the bar of a forced exit's fill (-1:
# none), whether it has to leave at its next bar of a session.
ENTERED, FORCED, MUST = range(3)
UNDER_WAY = 3

# What a portfolio comes to: equity after the last set, USD; deepest fall below the highest equity before it,
# USD; fills; sets in which a daily loss was reached; whether a drawdown halted it.
LAST_EQUITY, DEEPEST_FALL, FILLS, STOPS, IS_HALTED = range(5)
TOTALS = 5


class FollowArguments(NamedTuple):
    """What `follow` takes behind the sets that it trades, as at the start; see there."""

    rows: Places
    base: Stamps
    day: Stamps
    first_day: Stamps
    session: Stamps
    margin_of: Stamps
    margins: Floats
    bars: Floats
    table: Floats
    costs: tuple[Costs, ...]
    reserve: float
    terms: Floats
    sizing: Floats
    limits: Floats
    tiers: Floats
    groups: Floats
    members: Flags
    correlation: Floats
    instruments: Stamps
    others: Flags
    kind: int
    ascending: bool
    numbers: Floats
    accounts: Floats
    lanes: Floats
    state: Floats
    peaks: Floats
    news: Floats
    order: Stamps
    under_way: Places
    sessions: Floats
    states: Floats
    fills: Floats
    proposals: Floats
    refusals: Stamps
    totals: Floats


@uncounted
def write_account(accounts: Floats, i: int, account: Account) -> None:
    """Write the account of lane i."""
    for slot in range(accounts.shape[1]):
        accounts[i, slot] = account[slot]


@uncounted
def account_of(accounts: Floats, i: int) -> Account:
    """Return the account of lane i."""
    return (accounts[i, 0], accounts[i, 1], accounts[i, 2], accounts[i, 3], accounts[i, 4])


@uncounted
def key_of(kind: int, ascending: bool, number: float, bar: Floats) -> float:
    """Return by what a proposal is ranked, smallest first."""
    if kind == BY_PROBABILITY:
        return -float(bar[BAR_PROBABILITY])
    if kind == BY_SCORE:
        return float(bar[BAR_SCORE]) if ascending else -float(bar[BAR_SCORE])
    return number


@uncounted
def go_on(
    i: int, here: int, bar: Floats, fate: Floats, costs: Costs, accounts: Floats, lanes: Floats,
    under_way: Places, fills: Floats, count: int,
) -> int:  # fmt: skip
    """Carry out what fills in lane i at its bar `here`; returns how many fills there are.

    fate    row of the entry that is under way, see `kernels.tabulate`
    fills   float64 (f, 5), or (0, 5): then they are counted and not kept
    """
    if here == fate[FILLED]:
        account = execute(account_of(accounts, i), market_order(lanes[i, rules.ROOM]), fate[BOUGHT_AT], costs)
        write_account(accounts, i, account)
        count = tell_fill(fills, count, i, here, lanes[i, rules.ROOM], fate[BOUGHT_AT], False)
    position, is_forced = accounts[i, POSITION], here == under_way[i, FORCED]
    if position != 0.0 and (is_forced or here == fate[LEFT]):
        price = market_price(-position, bar[BAR_OPEN], costs) if is_forced else fate[SOLD_AT]
        write_account(accounts, i, execute(account_of(accounts, i), market_order(-position), price, costs))
        count = tell_fill(fills, count, i, here, -position, price, is_forced)
        lanes[i, rules.ROOM] = lanes[i, rules.LEAVING] = 0.0
        under_way[i, ENTERED] = under_way[i, FORCED] = -1
        under_way[i, MUST] = 0
    return count


@uncounted
def tell_fill(
    fills: Floats, count: int, i: int, here: int, size: float, price: float, is_forced: bool
) -> int:
    """Write a fill where there is room for any; returns how many there are."""
    if fills.shape[0] > 0:
        fills[count, F_LANE], fills[count, F_BAR] = i, here
        fills[count, F_SIZE], fills[count, F_PRICE] = size, price
        fills[count, F_FORCED] = 1.0 if is_forced else 0.0
    return count + 1


@uncounted
def is_held(i: int, here: int, accounts: Floats, fate: Floats, under_way: Places) -> bool:
    """Return whether lane i holds a position that no waiting or required exit closes, at its bar `here`."""
    waits = under_way[i, FORCED] >= 0 or under_way[i, MUST] != 0 or fate[DECIDED] <= here
    return accounts[i, POSITION] != 0.0 and not waits


@uncounted
def follow(
    start: int, stop: int,
    rows: Places, base: Stamps, day: Stamps, first_day: Stamps, session: Stamps, margin_of: Stamps,
    margins: Floats, bars: Floats, table: Floats, costs: tuple[Costs, ...], reserve: float, terms: Floats,
    sizing: Floats, limits: Floats, tiers: Floats, groups: Floats, members: Flags, correlation: Floats,
    instruments: Stamps, others: Flags, kind: int, ascending: bool, numbers: Floats, accounts: Floats,
    lanes: Floats, state: Floats, peaks: Floats, news: Floats, order: Stamps, under_way: Places,
    sessions: Floats, states: Floats, fills: Floats, proposals: Floats, refusals: Stamps, totals: Floats,
) -> int:  # fmt: skip
    """Trade one portfolio over start <= set < stop of S bar sets of n lanes; returns how many proposals came.

    Sets may be traded in several calls, one after the other, on the same arrays: `fills`, `proposals` and the
    deepest fall are then those of one call.

    rows        int32 (S, n): the bar of each lane, -1 without one; base: int64 (n,): first row of its bars
    day, first_day   int64 (S,): date of each set, and of the first session of its drawdown's window
    session     int64 (S,): ordinal of the day; margin_of: (S,): which of `margins` (m, n, 2) hold
    bars, table   float64 (b, 8): rows as above, and of `kernels.tabulate`, of all lanes
    terms ... instruments   see `lockstep.portfolio.rules`; they follow `PortfolioTerms`
    others      bool (b,): bars whose signal belongs to the other arm of a test, or (0,): no lane is an arm
    kind, ascending, numbers   how proposals are ranked
    accounts ... under_way   written; as at the start
    sessions    float64 (days,), or (0,): equity after the last set of each day, USD
    states      float64 (S, 9), or (0, 9): the coordinator's after each set
    fills, proposals   float64 (f, 5) and (p, 9), or without rows
    refusals    int64 (rules,): how many each rule refused; totals: float64 (5,)
    """
    count, proposed, highest = 0, 0, state[rules.EQUITY]
    for s in range(start, stop):
        asking = False
        for i in range(rows.shape[1]):
            news[i, rules.SIDE] = 0.0
            here = rows[s, i]
            if here < 0:
                continue
            bar = bars[base[i] + here]
            lanes[i, rules.CLOSE], lanes[i, rules.RISK] = bar[BAR_CLOSE], bar[BAR_RISK]
            entered = under_way[i, ENTERED]
            if entered >= 0:
                fate = table[base[i] + entered]
                count = go_on(
                    i, here, bar, fate, costs[i], accounts, lanes, under_way, fills, count
                )  # fmt: skip
                if under_way[i, MUST] != 0 and bar[BAR_IN_SESSION] != 0.0:
                    under_way[i, MUST], under_way[i, FORCED] = 0, int(bar[BAR_NEXT])
            if under_way[i, ENTERED] < 0 and table[base[i] + here, SIDED] != 0.0:
                news[i, rules.SIDE], news[i, rules.MEASURE] = table[base[i] + here, SIDED], bar[BAR_MEASURE]
                # A strategy whose own size is nothing proposes nothing.
                if wanted_contracts(i, 1.0, news, lanes, sizing) == 0.0:
                    news[i, rules.SIDE] = 0.0
                else:
                    news[i, rules.KEY] = key_of(kind, ascending, numbers[i], bar)
                    is_other = others.size > 0 and others[base[i] + here]
                    news[i, rules.OTHER] = 1.0 if is_other else 0.0
                    asking = True
        total = total_equity(reserve, accounts, lanes, terms)
        flatten = mark(float(day[s]), float(first_day[s]), total, state, peaks, limits, tiers)
        highest = max(highest, total)
        totals[DEEPEST_FALL] = max(totals[DEEPEST_FALL], highest - total)
        if flatten:
            totals[STOPS] += 1.0
            for i in range(rows.shape[1]):
                entered, here = under_way[i, ENTERED], rows[s, i]
                lanes[i, rules.LEAVING] = 1.0 if accounts[i, POSITION] != 0.0 else 0.0
                if entered < 0:
                    continue
                # Without a bar, an exit that was decided at the newest one waits as well.
                newest = here
                past = s
                while newest < 0:
                    past -= 1
                    newest = rows[past, i]
                if is_held(i, newest, accounts, table[base[i] + entered], under_way):
                    if here >= 0 and bars[base[i] + here, BAR_IN_SESSION] != 0.0:
                        under_way[i, FORCED] = int(bars[base[i] + here, BAR_NEXT])
                    else:
                        under_way[i, MUST] = 1
        if asking:
            scale = scale_of(state, tiers)
            for place in range(ranked(news, order)):
                i = order[place]
                quantity = wanted_contracts(i, scale, news, lanes, sizing)
                margin = margin_with(i, quantity, accounts, lanes, margins[margin_of[s]])
                verdict = admit(
                    i, place, quantity, margin, state, lanes, news, terms, limits, groups, members,
                    correlation, instruments,
                )  # fmt: skip
                if verdict == rules.ADMITTED:
                    lanes[i, rules.ROOM] = quantity
                    under_way[i, ENTERED] = rows[s, i]
                else:
                    refusals[verdict] += 1
                if proposals.shape[0] > 0:
                    told = proposals[proposed]
                    told[P_SET], told[P_PLACE], told[P_LANE], told[P_SIDE] = s, place, i, news[i, rules.SIDE]
                    told[P_BASE] = abs(wanted_contracts(i, 1.0, news, lanes, sizing))
                    told[P_SCALE], told[P_RULE], told[P_MARGIN] = scale, verdict, margin
                    told[P_QUANTITY] = quantity if verdict == rules.ADMITTED else 0.0
                proposed += 1
        if sessions.size > 0:
            sessions[session[s]] = total
        if states.shape[0] > 0:
            for slot in range(states.shape[1]):
                states[s, slot] = state[slot]
    totals[LAST_EQUITY], totals[FILLS] = state[rules.EQUITY], count
    totals[IS_HALTED] = state[rules.HALT]
    return proposed
