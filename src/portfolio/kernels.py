"""The arithmetic of a portfolio, compiled: `settle` is one bar set, made of `mark`, `ranked` and `admit`.

Cerebro and the sweep call the same code. Sums run over lanes in the order of the symbols, one after
the other: floats that are added in another order are another number. Arrays are described in `rules.py`.
"""

from __future__ import annotations

import math

from lockstep.compiled import uncounted
from lockstep.market.bars import Flags, Floats, Stamps
from lockstep.portfolio.rules import (
    ADMITTED,
    AT,
    BASELINE,
    CAPITAL,
    CLOSE,
    CONTRACTS,
    DAILY_LOSS,
    DAY,
    DRAWDOWN,
    EQUITY,
    FLATTEN,
    GROSS,
    GROUP,
    GROUP_GROSS,
    GROUP_POSITIONS,
    HALT,
    HALT_AT,
    HALTED,
    INITIAL,
    KEY,
    LEAVING,
    LOSS,
    MARGIN,
    MEASURE,
    MOST_CONTRACTS,
    MOST_GROSS,
    MOST_MARGIN,
    MOST_NET,
    MOST_POSITIONS,
    MOST_RISK,
    MOST_TOTAL,
    MOST_VALUE,
    NET,
    NEW_CLOSE,
    NEW_VOLATILITY,
    NO_PROPOSAL,
    OTHER,
    OTHER_ARM,
    OVERNIGHT,
    PEAK,
    PEAK_DAY,
    PEAK_OF_DAY,
    PEAKS,
    POSITIONS,
    RANK,
    RELEASE,
    RISK,
    ROOM,
    SCALE,
    SIDE,
    STOPPED,
    TIER,
    TIMES,
    TOP,
    TOTAL_CONTRACTS,
    UNIT,
    UNKNOWN,
    VOLATILITY,
    WEIGHT_CAP,
)
from lockstep.strategy.matching import POSITION, equity
from lockstep.strategy.sizing import multiplied, sized, sizing_of


@uncounted
def total_equity(reserve: float, accounts: Floats, lanes: Floats, terms: Floats) -> float:
    """Return `reserve` plus the equity of all accounts (n, 5) at the last known closes, USD."""
    total = reserve
    for i in range(len(accounts)):
        account = (accounts[i, 0], accounts[i, 1], accounts[i, 2], accounts[i, 3], accounts[i, 4])
        total += equity(account, lanes[i, CLOSE], terms[i, UNIT])
    return total


@uncounted
def mark(
    day: float, first_day: float, total: float, state: Floats, peaks: Floats, limits: Floats, tiers: Floats
) -> bool:
    """Take over a new equity; return whether everything open must leave now.

    day         of this set, days since 1970; first_day: of the oldest session in the drawdown's window
    total       equity, USD
    state, peaks   are changed; peaks are those of finished days in the window, falling
    """
    if day != state[DAY]:
        count = int(state[PEAKS])
        if state[DAY] >= 0.0 and len(peaks):
            while count > 0 and peaks[count - 1, PEAK] <= state[PEAK_OF_DAY]:
                count -= 1
            peaks[count, PEAK_DAY], peaks[count, PEAK] = state[DAY], state[PEAK_OF_DAY]
            count += 1
        gone = 0
        while gone < count and peaks[gone, PEAK_DAY] < first_day:
            gone += 1
        for i in range(gone, count):
            peaks[i - gone, PEAK_DAY], peaks[i - gone, PEAK] = peaks[i, PEAK_DAY], peaks[i, PEAK]
        state[PEAKS] = count - gone
        state[BASELINE], state[DAY], state[PEAK_OF_DAY], state[STOPPED] = state[EQUITY], day, -math.inf, 0.0
    state[EQUITY] = total
    state[PEAK_OF_DAY] = max(state[PEAK_OF_DAY], total)
    highest = state[PEAK_OF_DAY]
    if state[PEAKS] > 0.0:
        highest = max(highest, peaks[0, PEAK])
    drawdown = (highest - total) / limits[CAPITAL]
    state[DRAWDOWN] = drawdown
    tier = int(state[TIER])
    while tier < len(tiers) and drawdown >= tiers[tier, AT]:
        tier += 1
    while tier > 0 and drawdown < limits[RELEASE] * tiers[tier - 1, AT]:
        tier -= 1
    state[TIER] = tier
    if drawdown >= limits[HALT_AT]:
        state[HALT] = 1.0
    if state[STOPPED] == 0.0 and state[BASELINE] - total >= limits[LOSS]:
        state[STOPPED] = 1.0
        return bool(limits[FLATTEN] != 0.0)
    return False


@uncounted
def scale_of(state: Floats, tiers: Floats) -> float:
    """Return what the amount of new sizes is multiplied by."""
    tier = int(state[TIER])
    return float(tiers[tier - 1, TIMES]) if tier > 0 else 1.0


@uncounted
def ranked(news: Floats, order: Stamps) -> int:
    """Write the lanes that propose into `order` (n,), smallest key first, NaN last; return how many.

    Lanes of equal keys stay in the order of the symbols. What belongs to the other arm of a test comes behind
    all others: it takes nobody's place.
    """
    count = 0
    for i in range(len(news)):
        if news[i, SIDE] == 0.0 or news[i, OTHER] != 0.0:
            continue
        place = count
        while place > 0:
            before, mine = news[order[place - 1], KEY], news[i, KEY]
            if not (before > mine or (math.isnan(before) and not math.isnan(mine))):
                break
            order[place] = order[place - 1]
            place -= 1
        order[place] = i
        count += 1
    for i in range(len(news)):
        if news[i, SIDE] != 0.0 and news[i, OTHER] != 0.0:
            order[count] = i
            count += 1
    return count


@uncounted
def wanted_contracts(i: int, scale: float, news: Floats, lanes: Floats, sizing: Floats) -> float:
    """Return the signed contracts that lane i proposes at `scale`: rounded down once."""
    rule = multiplied(sizing_of(sizing[i]), scale)
    return float(news[i, SIDE]) * sized(float(news[i, MEASURE]), lanes[i, CLOSE], rule)


@uncounted
def margin_with(i: int, quantity: float, accounts: Floats, lanes: Floats, margins: Floats) -> float:
    """Return the margin, USD, of all rooms with `quantity` contracts in that of lane i.

    What is held needs the overnight margin; what waits or is proposed the larger of both. NaN where one is
    not declared.
    """
    total = 0.0
    for j in range(len(lanes)):
        room = quantity if j == i else lanes[j, ROOM]
        if room == 0.0:
            continue
        each = margins[j, OVERNIGHT]
        if accounts[j, POSITION] == 0.0 and not margins[j, INITIAL] <= each:
            each = margins[j, INITIAL]
        total += abs(room) * each
    return total


@uncounted
def opens_instrument(j: int, i: int, lanes: Floats, instruments: Stamps) -> bool:
    """Return whether no lane before j has room in its instrument, lane i counted as one that has.

    The members of an ensemble are one position.
    """
    for k in range(j):
        if instruments[k] == instruments[j] and (k == i or lanes[k, ROOM] != 0.0):
            return False
    return True


@uncounted
def admit(
    i: int, place: int, quantity: float, margin: float, state: Floats, lanes: Floats, news: Floats,
    terms: Floats, limits: Floats, groups: Floats, members: Flags, correlation: Floats, instruments: Stamps,
) -> int:  # fmt: skip
    """Return ADMITTED, or the first rule that refuses `quantity` contracts of lane i.

    Lanes that trade one instrument, the members of an ensemble, are one position. Their sizes add up without
    signs: an exit is never refused, and could leave the other side alone.

    place     of the proposal in the ranking; margin: `margin_with` it, USD; members: bool (g, n)
    correlation   (n, n), or (0, 0) without a volatility limit
    instruments   int64 (n,): equal numbers for lanes that trade one instrument
    """
    if news[i, OTHER] != 0.0:
        return OTHER_ARM
    if state[HALT] != 0.0:
        return HALTED
    if state[STOPPED] != 0.0:
        return DAILY_LOSS
    if quantity == 0.0:
        return SCALE
    if math.isnan(news[i, KEY]) or (len(correlation) and math.isnan(lanes[i, RISK])):
        return UNKNOWN
    if math.isnan(margin) and not math.isinf(limits[MOST_MARGIN]):
        return UNKNOWN
    if place >= limits[TOP]:
        return RANK
    positions, total, gross, net, variance, own, worth = 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(len(lanes)):
        room = quantity if j == i else lanes[j, ROOM]
        if room == 0.0:
            continue
        positions += opens_instrument(j, i, lanes, instruments)
        total += abs(room)
        if instruments[j] == instruments[i]:
            own += abs(room)
            worth += abs(room * lanes[j, CLOSE]) * terms[j, UNIT]
        value = room * abs(lanes[j, CLOSE]) * terms[j, UNIT]
        gross += abs(value)
        net += value
        if len(correlation):
            for k in range(len(lanes)):
                other = quantity if k == i else lanes[k, ROOM]
                if other != 0.0:
                    variance += room * lanes[j, RISK] * correlation[j, k] * other * lanes[k, RISK]
    if positions > limits[MOST_POSITIONS]:
        return POSITIONS
    if own > terms[i, MOST_CONTRACTS]:
        return CONTRACTS
    if total > limits[MOST_TOTAL]:
        return TOTAL_CONTRACTS
    if worth > terms[i, MOST_VALUE]:
        return WEIGHT_CAP
    if gross > limits[MOST_GROSS]:
        return GROSS
    if abs(net) > limits[MOST_NET]:
        return NET
    for g in range(len(groups)):
        if members[g, i]:
            count, value = 0, 0.0
            for j in range(len(lanes)):
                room = quantity if j == i else lanes[j, ROOM]
                if members[g, j] and room != 0.0:
                    count += opens_instrument(j, i, lanes, instruments)
                    value += abs(room * lanes[j, CLOSE]) * terms[j, UNIT]
            if count > groups[g, GROUP_POSITIONS] or value > groups[g, GROUP_GROSS]:
                return GROUP
    # A risk that nobody knows is no small one: NaN is refused.
    risk = math.sqrt(variance) if variance > 0.0 else variance
    if len(correlation) and not risk <= limits[MOST_RISK]:
        return VOLATILITY
    if margin > limits[MOST_MARGIN] * state[EQUITY]:
        return MARGIN
    return ADMITTED


@uncounted
def settle(
    day: float, first_day: float, reserve: float, news: Floats, accounts: Floats, entering: Flags,
    state: Floats, lanes: Floats, peaks: Floats, terms: Floats, sizing: Floats, limits: Floats, tiers: Floats,
    groups: Floats, members: Flags, correlation: Floats, instruments: Stamps, margins: Floats,
    verdicts: Stamps, quantities: Floats, needed: Floats, order: Stamps,
) -> bool:  # fmt: skip
    """Settle one bar set; return whether everything open must leave.

    accounts   (n, 5) as in `matching.py`; entering: bool (n,), an entry waits to fill
    verdicts, quantities, needed, order   are written: of each lane ADMITTED, NO_PROPOSAL or the rule that
               refused, the signed contracts that it proposed and the margin of all rooms with them, USD; the
               lanes that propose by rank, -1 behind them
    """
    for i in range(len(lanes)):
        if accounts[i, POSITION] == 0.0:
            lanes[i, LEAVING] = 0.0
            if not entering[i]:
                lanes[i, ROOM] = 0.0
        if not math.isnan(news[i, NEW_CLOSE]):
            lanes[i, CLOSE] = news[i, NEW_CLOSE]
            if not math.isnan(news[i, NEW_VOLATILITY]):
                lanes[i, RISK] = news[i, NEW_VOLATILITY] * abs(news[i, NEW_CLOSE]) * terms[i, UNIT]
        verdicts[i], quantities[i], needed[i], order[i] = NO_PROPOSAL, 0.0, math.nan, -1
    total = total_equity(reserve, accounts, lanes, terms)
    flatten = mark(day, first_day, total, state, peaks, limits, tiers)
    if flatten:
        for i in range(len(lanes)):
            lanes[i, LEAVING] = 1.0 if accounts[i, POSITION] != 0.0 else 0.0
    scale = scale_of(state, tiers)
    for place in range(ranked(news, order)):
        i = order[place]
        quantities[i] = wanted_contracts(i, scale, news, lanes, sizing)
        needed[i] = margin_with(i, quantities[i], accounts, lanes, margins)
        verdicts[i] = admit(
            i, place, quantities[i], needed[i], state, lanes, news, terms, limits, groups, members,
            correlation, instruments,
        )  # fmt: skip
        if verdicts[i] == ADMITTED:
            lanes[i, ROOM] = quantities[i]
    return flatten
