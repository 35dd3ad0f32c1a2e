"""The compiled twin of the engine for one run: all that Backtrader would have written down.

Nothing here is a rule of trading. `run` is the order of events that `ParityStrategy` and `SimulatedBroker`
have in Backtrader: match the working orders, decide, carry out, mark; and the books that they keep of it:
every state of every order, every trade. What is decided, sized, filled and paid, the same kernels say.

A run stops where it needs something from outside, an answer of the model or room for more records, and goes
on from there when it is called again: `state` and `money` hold all that it has to remember.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from lockstep.compiled import kernel
from lockstep.market.bars import Floats, Stamps
from lockstep.strategy.decision import EXIT_DAILY_LOSS, IN_SESSION, OUTSIDE_SESSION, PASS
from lockstep.strategy.matching import (
    CASH,
    CLOSE,
    MULTIPLIER,
    NO_FILL,
    NO_ORDER,
    POSITION,
    QUANTITY,
    SLIPPAGE,
    STOP,
    STOP_FILL,
    TARGET,
    Account,
    Bar,
    Costs,
    Order,
    equity,
    execute,
    fee,
    market_price,
    match,
)
from lockstep.strategy.sizing import Exits, Sizing
from lockstep.strategy.step import carried_out, exit_order, is_entry, is_order

Books = tuple[NDArray[Any], ...]

# What a run remembers, int64 (STATE,): the next bar; the bars that the broker has matched; how many order
# states, trades and references there are; of the market order that waits, its reference (0: none), the end of
# the bar that decided it and its code; references of stop and target (0: none); decision of the open trade;
# the first bar that counts as held; the code of the exit that a portfolio requires (0: none).
(
    ROW, MATCHED, ORDERS, TRADES, REFERENCES, WAITING, DECIDED, CODE, STOP_ORDER, TARGET_ORDER, OPENED_BY,
    HELD_FROM, REQUIRED,
) = range(13)  # fmt: skip
STATE = 13
# And float64 (MONEY,): the account, the terms of the order that waits, the probability of its decision.
CHANCE = 10
MONEY = 11

# Columns of the books of orders and trades: the fields of `OrderRecord` and `TradeRecord` in their order,
# without the symbol. Stamps and references are int64, numbers float64, and words codes: of an intent and a
# status their place in INTENTS and STATUSES, of a reason the code of the decision, or minus the intent of a
# protective order.
REFERENCE, DECISION, INTENT, REASON, STATUS, STAMP, SIZE, PRICE, COMMISSION, SLIPPED = range(10)
(
    CAUSE, BOUGHT, ENTERED, ENTRY_AT, PROBABILITY, PAID, LOST, EXIT_CAUSE, LEFT, EXIT_AT, LEFT_FOR, BARS_HELD,
) = range(12)  # fmt: skip
INTENTS = ("entry", "exit", "stop", "target")
STATUSES = ("accepted", "completed", "canceled")
ENTRY, EXIT, STOP_LOSS, TAKE_PROFIT = range(4)
# When everything of a portfolio must leave: in a bar's own set, or in one between it and the bar before.
AT_BAR, BEFORE_BAR = 1, 2
ACCEPTED, COMPLETED, CANCELED = range(3)

# One bar writes at most so many order states: a market order filled, two protective ones placed, one of them
# filled and the other cancelled; then one sent, filled at the close, and two placed or cancelled.
ROOM = 9


@kernel
def note(
    state: Stamps, orders: Books, reference: int, decision: int, intent: int, reason: int, status: int,
    stamp: int, size: float, price: float, commission: float, slippage: float,
) -> None:  # fmt: skip
    """Write one state of an order."""
    row = state[ORDERS]
    orders[REFERENCE][row] = reference
    orders[DECISION][row] = decision
    orders[INTENT][row] = intent
    orders[REASON][row] = reason
    orders[STATUS][row] = status
    orders[STAMP][row] = stamp
    orders[SIZE][row] = size
    orders[PRICE][row] = price
    orders[COMMISSION][row] = commission
    orders[SLIPPED][row] = slippage
    state[ORDERS] = row + 1


@kernel
def place(state: Stamps, orders: Books, stamp: int, account: Account) -> None:
    """Place the stop and the target that an account has."""
    for intent, level, kept in (
        (STOP_LOSS, account[STOP], STOP_ORDER), (TAKE_PROFIT, account[TARGET], TARGET_ORDER),
    ):  # fmt: skip
        if level == level:
            state[REFERENCES] += 1
            state[kept] = state[REFERENCES]
            note(
                state, orders, state[kept], state[OPENED_BY], intent, -intent, ACCEPTED, stamp,
                -account[POSITION], level, 0.0, 0.0,
            )  # fmt: skip


@kernel
def withdraw(state: Stamps, orders: Books, stamp: int, account: Account) -> None:
    """Cancel what is left of the protective orders of an account."""
    for intent, level, kept in (
        (STOP_LOSS, account[STOP], STOP_ORDER), (TAKE_PROFIT, account[TARGET], TARGET_ORDER),
    ):  # fmt: skip
        if state[kept] != 0:
            note(
                state, orders, state[kept], state[OPENED_BY], intent, -intent, CANCELED, stamp,
                -account[POSITION], level, 0.0, 0.0,
            )  # fmt: skip
            state[kept] = 0


@kernel
def complete(
    state: Stamps, orders: Books, trades: Books, reference: int, decision: int, intent: int, reason: int,
    stamp: int, size: float, price: float, slippage: float, costs: Costs, seen: int, chance: float,
) -> None:  # fmt: skip
    """Write that an order filled, and open or close the trade.

    slippage   points; seen: bars that the strategy has decided on; chance: probability of an entry
    """
    paid = fee(size, price, costs)
    lost = slippage * costs[MULTIPLIER] * abs(size)
    note(state, orders, reference, decision, intent, reason, COMPLETED, stamp, size, price, paid, lost)
    if intent == ENTRY:
        row = state[TRADES]
        state[TRADES] = row + 1
        state[OPENED_BY], state[HELD_FROM] = decision, seen
        trades[CAUSE][row], trades[BOUGHT][row] = decision, size
        trades[ENTERED][row], trades[ENTRY_AT][row] = stamp, price
        trades[PROBABILITY][row], trades[PAID][row], trades[LOST][row] = chance, paid, lost
        trades[EXIT_CAUSE][row], trades[LEFT][row], trades[EXIT_AT][row] = 0, 0, math.nan
        trades[LEFT_FOR][row], trades[BARS_HELD][row] = 0, 0
    else:
        row = state[TRADES] - 1
        trades[EXIT_CAUSE][row] = decision if intent == EXIT else 0
        trades[LEFT][row], trades[EXIT_AT][row], trades[LEFT_FOR][row] = stamp, price, reason
        trades[BARS_HELD][row] = seen - state[HELD_FROM]
        trades[PAID][row] += paid
        trades[LOST][row] += lost
        state[REQUIRED] = 0


@kernel
def fill_market(
    state: Stamps, orders: Books, trades: Books, stamp: int, order: Order, price: float, before: Account,
    after: Account, costs: Costs, seen: int, chance: float,
) -> None:  # fmt: skip
    """Write the fill of the market order that waited, and what becomes of the protective orders."""
    reference, code = state[WAITING], state[CODE]
    intent = ENTRY if is_entry(code) else EXIT
    state[WAITING] = 0
    complete(
        state, orders, trades, reference, state[DECIDED], intent, code, stamp, order[QUANTITY], price,
        costs[SLIPPAGE], costs, seen, chance,
    )  # fmt: skip
    if after[POSITION] != 0.0:
        place(state, orders, stamp, after)
    else:
        withdraw(state, orders, stamp, before)


@kernel
def fill_protective(
    state: Stamps, orders: Books, trades: Books, stamp: int, kind: int, price: float, before: Account,
    costs: Costs, seen: int,
) -> None:  # fmt: skip
    """Write the fill of a stop or a target, and the end of the other one."""
    stopped = kind == STOP_FILL
    kept, intent = (STOP_ORDER, STOP_LOSS) if stopped else (TARGET_ORDER, TAKE_PROFIT)
    reference = state[kept]
    state[kept] = 0
    complete(
        state, orders, trades, reference, state[OPENED_BY], intent, -intent, stamp, -before[POSITION], price,
        costs[SLIPPAGE] if stopped else 0.0, costs, seen, math.nan,
    )  # fmt: skip
    withdraw(state, orders, stamp, before)


@kernel
def bar_of(prices: tuple[Floats, ...], row: int) -> Bar:
    """Return open, high, low, close of a bar."""
    return (prices[0][row], prices[1][row], prices[2][row], prices[3][row])


@kernel
def match_orders(
    state: Stamps, orders: Books, trades: Books, stamp: int, bar: Bar, account: Account, order: Order,
    costs: Costs, seen: int, chance: float,
) -> tuple[Account, Order]:  # fmt: skip
    """Match what works in the market within a bar, write the fills, and return what they leave."""
    opened, bought, closed, kind, price = match(account, order, bar, costs)
    if state[WAITING] != 0:
        fill_market(state, orders, trades, stamp, order, bought, account, opened, costs, seen, chance)
        account, order = opened, NO_ORDER
    if kind != NO_FILL:
        fill_protective(state, orders, trades, stamp, kind, price, account, costs, seen)
        account = closed
    return account, order


@kernel
def send(state: Stamps, orders: Books, stamp: int, code: int, quantity: float) -> None:
    """Let the market order of a decision wait, and write that it was accepted."""
    state[REFERENCES] += 1
    state[WAITING], state[DECIDED], state[CODE] = state[REFERENCES], stamp, code
    intent = ENTRY if is_entry(code) else EXIT
    note(
        state, orders, state[WAITING], stamp, intent, code, ACCEPTED, stamp, quantity, math.nan, 0.0, 0.0
    )  # fmt: skip


@kernel
def fill_at_close(
    state: Stamps, orders: Books, trades: Books, stamp: int, close: float, account: Account, order: Order,
    costs: Costs, seen: int, chance: float,
) -> Account:  # fmt: skip
    """Fill the market order that waits at the close of the bar that decided it; return what that leaves."""
    price = market_price(order[QUANTITY], close, costs)
    after = execute(account, order, price, costs)
    fill_market(state, orders, trades, stamp, order, price, account, after, costs, seen, chance)
    return after


@kernel
def mark(marks: Floats, i: int, close: float, account: Account, multiplier: float) -> None:
    """Write the account at the close of a bar."""
    marks[i, 0], marks[i, 1], marks[i, 2] = close, account[POSITION], account[CASH]
    marks[i, 3] = equity(account, close, multiplier)


@kernel
def is_held(state: Stamps, account: Account) -> bool:
    """Return whether a position is open that no waiting or required exit closes."""
    return account[POSITION] != 0.0 and state[WAITING] == 0 and state[REQUIRED] == 0


def run(
    decide: Callable[..., int],
    asks: bool,
    at_close: bool,
    stop: int,
    ends: Stamps,
    prices: tuple[Floats, ...],
    clock: Floats,
    values: Floats,
    costs: Costs,
    rules: Floats,
    filters: Floats,
    sizing: Sizing,
    exits: Exits,
    answers: Floats,
    verdicts: Stamps,
    admitted: Floats,
    leaves: NDArray[Any],
    codes: Stamps,
    probabilities: Floats,
    marks: Floats,
    orders: Books,
    trades: Books,
    state: Stamps,
    money: Floats,
) -> bool:
    """Go on with a run of n bars from `state[ROW]` to `stop`; True where an answer of the model is lacking.

    decide          of the family
    asks            whether a model is asked about entries: `answers`, float64 (n,), NaN where not known yet
    at_close        orders fill at the close of the bar that decided them
    verdicts, admitted, leaves   of a portfolio's lane, see `engine.Admitted`; (0,) where it trades alone
    ends, prices    int64 (n,), and four columns float64 (n,); clock: float64 (n, 3); values: float64 (n, ids)
    codes, probabilities, marks   int64 (n,), float64 (n,), float64 (n, 4): written, see `RunRecords`
    orders, trades  the books, see above

    The answer that is lacking is that at `state[ROW]`. Where it is False before `stop`, there is no room for
    what one more bar may add to the books.
    """
    lacking = False
    account: Account = (money[0], money[1], money[2], money[3], money[4])
    order: Order = (money[5], money[6], money[7], money[8], money[9])
    while (
        state[ROW] < stop
        and state[ORDERS] + ROOM <= orders[STAMP].size
        and state[TRADES] + ROOM <= trades[CAUSE].size
    ):
        i = state[ROW]
        stamp, bar, time = ends[i], bar_of(prices, i), (clock[i, 0], clock[i, 1], clock[i, 2])
        if state[MATCHED] == i:
            state[MATCHED] = i + 1
            if leaves.size > 0 and leaves[i] & BEFORE_BAR != 0 and is_held(state, account):
                state[REQUIRED] = EXIT_DAILY_LOSS
            if (account[POSITION] != 0.0 or state[WAITING] != 0) and time[IN_SESSION] != 0.0:
                account, order = match_orders(
                    state, orders, trades, stamp, bar, account, order, costs, i, money[CHANCE]
                )
        position = account[POSITION]
        holding = (0.0, 0.0)
        if position != 0.0:
            holding = (math.copysign(1.0, position), float(i - state[HELD_FROM] + 1))
        vector, chance = values[i], math.nan
        code = decide(vector, PASS, time, holding, rules, filters)
        if state[REQUIRED] != 0 and position != 0.0 and code != OUTSIDE_SESSION:
            code = state[REQUIRED]
        elif asks and is_entry(code):
            chance = answers[i]
            if chance != chance:
                lacking = True
                break
            code = decide(vector, chance, time, holding, rules, filters)
        if is_order(code):
            code, sent = carried_out(code, position, state[WAITING] != 0, vector, bar[CLOSE], sizing, exits)
            if verdicts.size > 0 and is_entry(code):
                code, sent = verdicts[i], (admitted[i], sent[1], sent[2], sent[3], sent[4])
            if is_order(code):
                money[CHANCE], order = chance, sent
                send(state, orders, stamp, code, order[QUANTITY])
                if at_close:
                    account = fill_at_close(
                        state, orders, trades, stamp, bar[CLOSE], account, order, costs, i + 1, chance
                    )
                    order = NO_ORDER
        if leaves.size > 0 and leaves[i] & AT_BAR != 0 and is_held(state, account):
            if time[IN_SESSION] != 0.0:
                code, order = EXIT_DAILY_LOSS, exit_order(position)
                send(state, orders, stamp, code, order[QUANTITY])
            else:
                state[REQUIRED] = EXIT_DAILY_LOSS
        codes[i], probabilities[i] = code, chance
        mark(marks, i, bar[CLOSE], account, costs[MULTIPLIER])
        state[ROW] = i + 1
    money[0], money[1], money[2], money[3], money[4] = account
    money[5], money[6], money[7], money[8], money[9] = order
    return lacking


def find_candidates(
    decide: Callable[..., int],
    first: int,
    stop: int,
    clock: Floats,
    values: Floats,
    rules: Floats,
    filters: Floats,
    found: NDArray[Any],
) -> None:
    """Write, for first <= bar < stop, whether the model would be asked there while flat; bool (n,)."""
    for i in range(first, stop):
        time = (clock[i, 0], clock[i, 1], clock[i, 2])
        found[i] = is_entry(decide(values[i], PASS, time, (0.0, 0.0), rules, filters))
