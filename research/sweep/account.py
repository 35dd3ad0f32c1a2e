"""From outcomes of entries to the account of one variant: its cash, marks, session returns and sums.

The trades of a variant are a chain: the first entry from the first bar on, the first from the bar that
decides after it, and so on. Variants that differ in their entries alone take their outcomes from one table.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lockstep.compiled import kernel
from lockstep.market.bars import Floats, Stamps
from lockstep.metrics.sums import AccountSums
from lockstep.strategy.matching import (
    CASH,
    CLOSE,
    ENTRY_PRICE,
    MULTIPLIER,
    POSITION,
    Account,
    Costs,
    equity,
    execute,
    fee,
)
from research.sweep.kernels import CLOSED, ENTRY, EXIT, FALL, HIGH, LOW, OPENED, SIZE, market_order

(
    TRADES,
    WINS,
    GAINS,
    LOSSES,
    SUM_1,
    SUM_2,
    SUM_3,
    SUM_4,
    DOWNSIDE,
    DRAWDOWN,
    DRAWDOWN_FRACTION,
    BARS_IN_POSITION,
    EQUITY,
    REST_1,
    REST_2,
    REST_3,
    REST_4,
    BETA,
) = range(18)
MEASURES = 18
# The columns of `timing`: sums of the residual's first to fourth power, and beta.
TIMING = slice(REST_1, BETA + 1)

BLOCKS = 16
# What is left of returns whose position never changed is rounding, below this part of their mean square.
_ROUNDING = 1e-16


def sums_of(measures: Floats) -> AccountSums:
    """Return the sums of V variants, float64 (V, MEASURES), by name."""
    column = measures.T
    return AccountSums(
        power_1=column[SUM_1],
        power_2=column[SUM_2],
        power_3=column[SUM_3],
        power_4=column[SUM_4],
        downside=column[DOWNSIDE],
        equity=column[EQUITY],
        drawdown=column[DRAWDOWN],
        drawdown_fraction=column[DRAWDOWN_FRACTION],
        trades=column[TRADES],
        wins=column[WINS],
        gains=column[GAINS],
        losses=column[LOSSES],
        bars_in_position=column[BARS_IN_POSITION],
    )


@kernel
def net_result(account: Account, price: float, costs: Costs) -> float:
    """Return what the open trade of `account` earns when closed at `price`, USD, both fees deducted."""
    move = (price - account[ENTRY_PRICE]) * account[POSITION] * costs[MULTIPLIER]
    entered = fee(account[POSITION], account[ENTRY_PRICE], costs)
    return move - (entered + fee(account[POSITION], price, costs))


@kernel
def marked(peak: float, drawdown: float, fraction: float, now: float) -> tuple[float, float, float]:
    """Return highest equity, deepest fall in USD and as a fraction of the peak before it, after a mark."""
    peak = max(peak, now)
    fall = peak - now
    if fall > fraction * peak:
        fraction = fall / peak
    return peak, max(drawdown, fall), fraction


def settle(
    carry_out: Callable[..., int],
    at_close: bool,
    parameters: Floats,
    values: Floats,
    clock: Floats,
    bars: Floats,
    session: Stamps,
    marks: Floats,
    exposure: Floats,
    costs: Costs,
    capital: float,
    entries: Stamps,
    following: Stamps,
    outcomes: Floats,
    changes: Floats,
    measures: Floats,
) -> None:
    """Go from trade to trade of one variant over n bars, and sum up what they did to its account.

    carry_out   writes the outcome of an entry and returns the bar that decides next
    at_close    an entry fills at the close of its bar, before that bar is marked
    session     (n,) ordinal of each bar's session; marks: float64 (sessions,), the last close of each
    exposure    float64 (n + 1,): what one contract was worth at the bars before, summed up, USD
    entries     int32 (n + 1,), see `find_entries`
    following   int32 (2 n,): the bar that decides after an entry, -1 where its outcome is not known yet
    outcomes    float64 (2 n, 8), see `hold`; shared, like `following`, by variants of equal exit rules
    changes     float64 (sessions,), zeroed: gets the change of equity in each session, USD
    measures    float64 (18,): all but the sums over sessions are written
    """
    n = bars.shape[0]
    unit = costs[MULTIPLIER]
    cash, peak, drawdown, fraction = capital, capital, 0.0, 0.0
    trades, wins, gains, losses, held, exposed = 0.0, 0.0, 0.0, 0.0, 0, 0.0
    i, stop = 0, -1
    while entries[i] != 2 * n:
        entry = entries[i]
        if not at_close or entry % n > stop:
            peak, drawdown, fraction = marked(peak, drawdown, fraction, cash)
        if following[entry] < 0:
            following[entry] = carry_out(parameters, values, clock, bars, costs, entry, outcomes)
        i = following[entry]
        quantity = outcomes[entry, SIZE]
        if quantity == 0.0:
            continue
        price = outcomes[entry, EXIT]
        closed = price == price
        opened, stop = int(outcomes[entry, OPENED]), int(outcomes[entry, CLOSED])
        last = session[stop if closed else n - 1]
        account: Account = (0.0, math.nan, math.nan, math.nan, cash)
        account = execute(account, market_order(quantity), outcomes[entry, ENTRY], costs)
        before, now = cash, account[CASH]
        for number in range(session[opened], last):
            now = equity(account, marks[number], unit)
            changes[number] += now - before
            before = now
        if closed:
            result = net_result(account, price, costs)
            trades += 1.0
            wins += 1.0 if result > 0.0 else 0.0
            gains += result if result > 0.0 else 0.0
            losses -= 0.0 if result > 0.0 else result
            now = execute(account, market_order(-quantity), price, costs)[CASH]
        else:
            now = equity(account, bars[n - 1, CLOSE], unit)
        changes[last] += now - before
        held += stop - opened
        exposed += quantity * (exposure[stop] - exposure[opened])
        part = outcomes[entry, CLOSED] - stop
        if part != 0.0:
            part *= quantity * (exposure[stop + 1] - exposure[stop])
            exposed += -part if at_close else part
        low, high, fall = cash + outcomes[entry, LOW], cash + outcomes[entry, HIGH], outcomes[entry, FALL]
        if high > peak and max(peak - low, fall) > fraction * peak:
            for bar in range(opened, stop):
                mark = equity(account, bars[bar, CLOSE], unit)
                peak, drawdown, fraction = marked(peak, drawdown, fraction, mark)
        else:
            _, drawdown, fraction = marked(peak, max(drawdown, fall), fraction, low)
            peak = max(peak, high)
        cash = now
    if stop < n:
        peak, drawdown, fraction = marked(peak, drawdown, fraction, cash)
    measures[TRADES], measures[WINS], measures[GAINS], measures[LOSSES] = trades, wins, gains, losses
    measures[DRAWDOWN], measures[DRAWDOWN_FRACTION] = drawdown, fraction
    measures[BARS_IN_POSITION], measures[EQUITY], measures[BETA] = held, cash, exposed / n / capital


@kernel
def draw(
    outcome: Floats, bars: Floats, costs: Costs, first: int, cash: float, curve: Floats
) -> tuple[int, float]:
    """Write the equity at every bar from `first` until a trade is closed; returns that bar and the cash then.

    outcome   float64 (8,), see `hold`; nothing is written where nothing was traded
    """
    if outcome[SIZE] == 0.0:
        return first, cash
    opened, stop = int(outcome[OPENED]), int(outcome[CLOSED])
    curve[first:opened] = cash
    account: Account = (0.0, math.nan, math.nan, math.nan, cash)
    account = execute(account, market_order(outcome[SIZE]), outcome[ENTRY], costs)
    for i in range(opened, stop):
        curve[i] = equity(account, bars[i, CLOSE], costs[MULTIPLIER])
    if stop < curve.size:
        account = execute(account, market_order(-outcome[SIZE]), outcome[EXIT], costs)
    return stop, account[CASH]


@kernel
def sum_sessions(
    changes: Floats,
    capital: float,
    edges: Stamps,
    market: Floats,
    bucket: Stamps,
    sign: Floats,
    measures: Floats,
    blocks: Floats,
    sketch: Floats,
) -> None:
    """Turn changes of equity, float64 (sessions,), into sums of returns; outputs zeroed by the caller.

    edges    int64 (17,): first session of each time block, and the number of sessions
    market   float64 (sessions,): what one unit of exposure earned, see `lockstep.metrics.market_returns`
    bucket, sign   per session: its place in the sketch, and the sign that it has there

    The sketch and the sums of powers from `REST_1` on are of x = r - beta m: beta, which is read from
    `measures`, is the mean exposure, so that a market which only drifts gives x the mean 0.
    """
    beta = measures[BETA]
    for number in range(changes.size):
        changes[number] /= capital
    sum_1, sum_2, sum_3, sum_4, downside = 0.0, 0.0, 0.0, 0.0, 0.0
    rest_1, rest_2, rest_3, rest_4 = 0.0, 0.0, 0.0, 0.0
    for block in range(BLOCKS):
        first, second = 0.0, 0.0
        for number in range(edges[block], edges[block + 1]):
            change = changes[number]
            square = change * change
            first += change
            second += square
            sum_3 += square * change
            sum_4 += square * square
            downside += square if change < 0.0 else 0.0
            rest = change - beta * market[number]
            square = rest * rest
            rest_1 += rest
            rest_2 += square
            rest_3 += square * rest
            rest_4 += square * square
            sketch[bucket[number]] += sign[number] * rest
        blocks[block, 0], blocks[block, 1] = first, second
        sum_1 += first
        sum_2 += second
    measures[SUM_1], measures[SUM_2], measures[SUM_3], measures[SUM_4] = sum_1, sum_2, sum_3, sum_4
    measures[DOWNSIDE] = downside
    if rest_2 <= _ROUNDING * sum_2:
        rest_1, rest_2, rest_3, rest_4 = 0.0, 0.0, 0.0, 0.0
        sketch[:] = 0.0
    measures[REST_1], measures[REST_2], measures[REST_3], measures[REST_4] = rest_1, rest_2, rest_3, rest_4
