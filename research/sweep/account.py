"""From outcomes of entries to the account of one variant: its cash, marks, session returns and sums.

The trades of a variant are a chain: the first entry from the first bar on, the first from the bar that
decides after it, and so on. Variants that differ in their entries alone take their outcomes from one table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lockstep.compiled import kernel, uncounted
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
from research.sweep.kernels import CLOSED, ENTRY, EXIT, FALL, HIGH, LOW, OPENED, SIZE, Numbers, market_order

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


# What an account needs of an outcome: the same, with the last close as exit price where the bars end before;
# the net result; the exposure of a bar times bars; all in USD. A row is one line of the cache.
QUANTITY, BOUGHT, SOLD, NET, LOWEST, HIGHEST, DEEPEST, EXPOSED = range(8)
# The first entry that may follow, -1 where the outcome is not known yet; sessions of entry and exit fill,
# -1 where nothing was traded; bars of the two, n where the bars end before.
AFTER, FROM, TO, BEGUN, ENDED = range(5)
LINK = 8

# Where an account stands between two calls: the entry that comes next, bar of the last exit, highest mark.
AT, STOP, PEAK = range(3)
PROGRESS = 3

FLAT: Account = (0.0, math.nan, math.nan, math.nan, 0.0)


@uncounted
def book(
    at_close: bool,
    outcome: Floats,
    bars: Floats,
    session: Stamps,
    exposure: Floats,
    costs: Costs,
    booked: Floats,
    link: Numbers,
) -> None:
    """Work out what the account of every variant with an outcome needs of it; all but AFTER is written."""
    n = bars.shape[0]
    quantity = outcome[SIZE]
    if quantity == 0.0:
        link[TO] = -1
        return
    price = outcome[EXIT]
    closed = price == price
    opened, stop = int(outcome[OPENED]), int(outcome[CLOSED])
    account = execute(FLAT, market_order(quantity), outcome[ENTRY], costs)
    link[FROM], link[TO] = session[opened], session[stop if closed else n - 1]
    link[BEGUN], link[ENDED] = opened, stop
    booked[QUANTITY], booked[BOUGHT] = quantity, outcome[ENTRY]
    booked[SOLD] = price if closed else bars[n - 1, CLOSE]
    booked[NET] = net_result(account, price, costs) if closed else 0.0
    booked[LOWEST], booked[HIGHEST], booked[DEEPEST] = outcome[LOW], outcome[HIGH], outcome[FALL]
    exposed = quantity * (exposure[stop] - exposure[opened])
    part = outcome[CLOSED] - stop
    if part != 0.0:
        part *= quantity * (exposure[stop + 1] - exposure[stop])
        exposed += -part if at_close else part
    booked[EXPOSED] = exposed


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
    entries: Numbers,
    following: Numbers,
    begin: int,
    until: int,
    outcomes: Floats,
    booked: Floats,
    links: Numbers,
    changes: Floats,
    progress: Floats,
    measures: Floats,
) -> None:
    """Go from trade to trade of one variant over n bars, and sum up what they did to its account.

    A call goes through the trades whose entries are begin <= number < until; the next goes on from there.

    carry_out   writes the outcome of an entry and returns the first entry that may follow it
    at_close    an entry fills at the close of its bar, before that bar is marked
    session     (n,) ordinal of each bar's session; marks: float64 (sessions,), the last close of each
    exposure    float64 (n + 1,): what one contract was worth at the bars before, summed up, USD
    entries     int32 (m,), see `number_entries`
    following   int32 (m + 1,), see `link_entries`
    outcomes    float64 (until - begin, 8), see `hold`; booked, likewise, and links, int32 (until - begin, 8),
                see `book`: shared by variants of equal exit rules, -1 in AFTER where nothing is known yet
    changes     float64 (sessions,), zeroed: gets the change of equity in each session, USD
    progress    float64 (3,): kept between calls
    measures    float64 (18,): all but the sums over sessions are written
    """
    n, unit = bars.shape[0], costs[MULTIPLIER]
    if begin == 0:
        progress[AT], progress[STOP], progress[PEAK] = following[0], -1, capital
        measures[:] = 0.0
        measures[EQUITY] = capital
    at, stop, peak = int(progress[AT]), int(progress[STOP]), progress[PEAK]
    cash, drawdown, fraction = measures[EQUITY], measures[DRAWDOWN], measures[DRAWDOWN_FRACTION]
    trades, wins, gains, losses = measures[TRADES], measures[WINS], measures[GAINS], measures[LOSSES]
    held, exposed = measures[BARS_IN_POSITION], measures[BETA]
    while at < until:
        if not at_close or entries[at] % n > stop:
            peak, drawdown, fraction = marked(peak, drawdown, fraction, cash)
        number = at - begin
        if links[number, AFTER] < 0:
            known = outcomes[number]
            links[number, AFTER] = carry_out(parameters, values, clock, bars, costs, entries[at], known)
            book(at_close, known, bars, session, exposure, costs, booked[number], links[number])
        at = following[links[number, AFTER]]
        last = links[number, TO]
        if last < 0:
            continue
        low, high = cash + booked[number, LOWEST], cash + booked[number, HIGHEST]
        fall = booked[number, DEEPEST]
        quantity, before = booked[number, QUANTITY], cash
        account: Account = (0.0, math.nan, math.nan, math.nan, cash)
        account = execute(account, market_order(quantity), booked[number, BOUGHT], costs)
        if links[number, FROM] < last:
            for day in range(links[number, FROM], last):
                now = equity(account, marks[day], unit)
                changes[day] += now - before
                before = now
        if high > peak and max(peak - low, fall) > fraction * peak:
            for bar in range(links[number, BEGUN], links[number, ENDED]):
                mark = equity(account, bars[bar, CLOSE], unit)
                peak, drawdown, fraction = marked(peak, drawdown, fraction, mark)
        else:
            _, drawdown, fraction = marked(peak, max(drawdown, fall), fraction, low)
            peak = max(peak, high)
        stop = links[number, ENDED]
        if stop < n:
            account = execute(account, market_order(-quantity), booked[number, SOLD], costs)
        cash = equity(account, booked[number, SOLD], unit)
        changes[last] += cash - before
        result = booked[number, NET]
        trades += 1.0
        wins += 1.0 if result > 0.0 else 0.0
        gains += result if result > 0.0 else 0.0
        losses -= 0.0 if result > 0.0 else result
        held += stop - links[number, BEGUN]
        exposed += booked[number, EXPOSED]
    if until == entries.size:
        if stop < n:
            peak, drawdown, fraction = marked(peak, drawdown, fraction, cash)
        else:
            trades -= 1.0
        exposed = exposed / n / capital
    progress[AT], progress[STOP], progress[PEAK] = at, stop, peak
    measures[TRADES], measures[WINS], measures[GAINS], measures[LOSSES] = trades, wins, gains, losses
    measures[DRAWDOWN], measures[DRAWDOWN_FRACTION] = drawdown, fraction
    measures[BARS_IN_POSITION], measures[EQUITY], measures[BETA] = held, cash, exposed


@uncounted
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


def record(
    next_entry: Callable[..., int],
    carry_out: Callable[..., tuple[int, int]],
    spec: Any,
    values: Any,
    clock: Floats,
    bars: Floats,
    costs: Costs,
    capital: float,
    outcome: Floats,
    fills: Floats,
    curve: Floats,
) -> int:
    """Write the fills of one variant, and its equity at each of n bars; returns how many fills there are.

    next_entry   gives the first entry from a bar on, 2 n where none follows
    carry_out    writes outcome and fills of an entry, and returns the bar that decides next and all fills
    """
    n = bars.shape[0]
    stop, count, cash = 0, 0, capital
    entry = next_entry(spec, values, clock, 0, n)
    while entry < 2 * n:
        i, count = carry_out(spec, values, clock, bars, costs, entry, outcome, count, fills)
        stop, cash = draw(outcome, bars, costs, stop, cash, curve)
        entry = next_entry(spec, values, clock, i, n)
    curve[stop:] = cash
    return count


@uncounted
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
