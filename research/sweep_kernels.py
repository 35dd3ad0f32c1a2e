"""The compiled twin of the engine: one variant over all bars, by the same `decide` and `match`.

Nothing here is a rule of trading. `walk` is the order of events that `ParityStrategy` and
`SimulatedBroker` have in Backtrader: fill, decide, send, mark. While a variant is flat with no order
waiting, neither fills nor equity can change, so that only `decide` is asked until it enters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lockstep.compiled import kernel
from lockstep.market.bars import Floats, Stamps
from lockstep.strategy.decision import (
    CLEAR,
    ENTER_LONG,
    ENTER_SHORT,
    EXIT_MAX_BARS,
    EXIT_SESSION,
    EXIT_SIGNAL,
    HOLD,
    IN_SESSION,
    PASS,
    Clock,
)
from lockstep.strategy.ibs_decision import decide
from lockstep.strategy.matching import (
    CLOSE,
    COMMISSION,
    ENTRY_PRICE,
    MULTIPLIER,
    NO_FILL,
    POSITION,
    QUANTITY,
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
) = range(13)
MEASURES = 13

FILL_BAR, FILL_KIND, FILL_QUANTITY, FILL_PRICE, FILL_DECISION, FILL_CODE = range(6)
FILL_COLUMNS = 6

BLOCKS = 16
SKETCH = 64


@kernel
def add_session(
    session: int,
    change: float,
    block: Stamps,
    bucket: Stamps,
    sign: Floats,
    measures: Floats,
    blocks: Floats,
    sketch: Floats,
) -> None:
    """Add the return of one session to the sums of a variant; sessions that return 0 need no call."""
    square = change * change
    measures[SUM_1] += change
    measures[SUM_2] += square
    measures[SUM_3] += square * change
    measures[SUM_4] += square * square
    if change < 0.0:
        measures[DOWNSIDE] += square
    number = block[session]
    blocks[number, 0] += change
    blocks[number, 1] += square
    sketch[bucket[session]] += sign[session] * change


@kernel
def add_trade(profit: float, measures: Floats) -> None:
    """Add a closed trade's net result, USD."""
    measures[TRADES] += 1.0
    if profit > 0.0:
        measures[WINS] += 1.0
        measures[GAINS] += profit
    else:
        measures[LOSSES] -= profit


@kernel
def net_result(account: Account, price: float, costs: Costs) -> float:
    """Return what the open trade of `account` earns when closed at `price`, USD, both fees deducted."""
    move = (price - account[ENTRY_PRICE]) * account[POSITION] * costs[MULTIPLIER]
    return move - 2.0 * costs[COMMISSION] * abs(account[POSITION])


@kernel
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


@kernel
def clock_at(clock: Floats, row: int) -> Clock:
    """Return the clock reading of a bar; an array of one row holds for all bars."""
    number = row if clock.shape[0] > 1 else 0
    return (clock[number, 0], clock[number, 1], clock[number, 2])


def walk(
    row: Callable[[Floats, int], Any],
    record: bool,
    at_close: bool,
    always_open: bool,
    values: Floats,
    probability: Floats,
    clock: Floats,
    bars: Floats,
    session: Stamps,
    block: Stamps,
    bucket: Stamps,
    sign: Floats,
    costs: Costs,
    capital: float,
    rules: Floats,
    filters: Floats,
    sizing: Sizing,
    exits: Exits,
    measures: Floats,
    blocks: Floats,
    sketch: Floats,
    fills: Floats,
    curve: Floats,
) -> int:
    """Trade one variant over n bars and return the number of fills.

    row           gives the vector of a bar as a tuple, which stays in registers
    record        also write every fill and the equity at every bar
    at_close      orders fill at the close of the bar that decided them
    always_open   every bar is in session, and no rule reads the clock
    values        (n, ids) decision vectors; probability (n,) of the model, or (1,) without one
    clock         (n, 3) readings; bars (n, 4): open, high, low, close
    session       (n,) ordinal of each bar's session; block, bucket, sign: per session, see `sweep.py`
    measures, blocks, sketch   outputs, zeroed by the caller; fills (<= 2n, 6), curve (n,)
    """
    count = 0
    account: Account = (0.0, math.nan, math.nan, math.nan, capital)
    order: Order = (0.0, math.nan, math.nan, math.nan, math.nan)
    decided, sent, entry_bar = 0, 0, 0
    now, before, running = capital, capital, -1
    peak, drawdown, fraction, in_position = capital, 0.0, 0.0, 0
    i, n = 0, bars.shape[0]
    while i < n:
        if account[POSITION] == 0.0 and order[QUANTITY] == 0.0:
            code = CLEAR
            while i < n:
                time = (1.0, 0.0, 0.0) if always_open else clock_at(clock, i)
                chance = probability[i] if probability.size > 1 else PASS
                code = decide(row(values, i), chance, time, (0.0, 0.0), rules, filters)
                if code == ENTER_LONG or code == ENTER_SHORT:
                    break
                if record:
                    curve[i] = now
                i += 1
            if i == n:
                break
            bar: Bar = (bars[i, 0], bars[i, 1], bars[i, 2], bars[i, 3])
        else:
            time = (1.0, 0.0, 0.0) if always_open else clock_at(clock, i)
            chance = probability[i] if probability.size > 1 else PASS
            bar = (bars[i, 0], bars[i, 1], bars[i, 2], bars[i, 3])
            if always_open or time[IN_SESSION] != 0.0:
                was = account
                opened, market, account, kind, price = match(account, order, bar, costs)
                if order[QUANTITY] != 0.0:
                    if was[POSITION] == 0.0:
                        entry_bar = i
                    else:
                        add_trade(net_result(was, market, costs), measures)
                    if record:
                        count = add_fill(fills, count, i, NO_FILL, order[QUANTITY], market, decided, sent)
                    order = (0.0, math.nan, math.nan, math.nan, math.nan)
                if kind != NO_FILL:
                    add_trade(net_result(opened, price, costs), measures)
                    if record:
                        count = add_fill(fills, count, i, kind, -opened[POSITION], price, decided, 0)
            side = 0.0 if account[POSITION] == 0.0 else math.copysign(1.0, account[POSITION])
            held = float(i - entry_bar + 1) if side != 0.0 else 0.0
            code = decide(row(values, i), chance, time, (side, held), rules, filters)
        if code == HOLD:
            pass
        elif code == ENTER_LONG or code == ENTER_SHORT:
            quantity = contracts(row(values, i), bar[CLOSE], sizing)
            if quantity != 0.0:
                order = entry_order(quantity if code == ENTER_LONG else -quantity, row(values, i), exits)
                decided, sent = i, code
        elif code == EXIT_SIGNAL or code == EXIT_SESSION or code == EXIT_MAX_BARS:
            order = (-account[POSITION], math.nan, math.nan, math.nan, math.nan)
            decided, sent = i, code
        if at_close and order[QUANTITY] != 0.0:
            market = market_price(order[QUANTITY], bar[CLOSE], costs)
            if account[POSITION] == 0.0:
                entry_bar = i + 1
            else:
                add_trade(net_result(account, market, costs), measures)
            account = execute(account, order, market, costs)
            if record:
                count = add_fill(fills, count, i, NO_FILL, order[QUANTITY], market, decided, sent)
            order = (0.0, math.nan, math.nan, math.nan, math.nan)
        if session[i] != running:
            if now != before:
                add_session(running, (now - before) / capital, block, bucket, sign, measures, blocks, sketch)
            before, running = now, session[i]
        now = equity(account, bar[CLOSE], costs[MULTIPLIER])
        in_position += account[POSITION] != 0.0
        peak = max(peak, now)
        drawdown = max(drawdown, peak - now)
        if peak - now > fraction * peak:
            fraction = (peak - now) / peak
        if record:
            curve[i] = now
        i += 1
    if now != before:
        add_session(running, (now - before) / capital, block, bucket, sign, measures, blocks, sketch)
    measures[EQUITY] = now
    measures[DRAWDOWN] = drawdown
    measures[DRAWDOWN_FRACTION] = fraction
    measures[BARS_IN_POSITION] = in_position
    return count
