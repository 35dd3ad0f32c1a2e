"""The base of all strategies: gathers a decision's arguments, acts on its answer, writes it down.

It knows nothing of IBS. A family of strategies is a config and a compiled `decide`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import backtrader as bt

from lockstep.errors import StrategyError
from lockstep.strategy import records
from lockstep.strategy.decision import (
    COLUMN_CODES,
    ENTER_LONG,
    ENTRIES,
    EXITS,
    FILTERED,
    HOLD,
    MISSING,
    NAMES,
    ORDER_WAITING,
    OUTSIDE_SESSION,
    PASS,
    SIZE_ZERO,
)
from lockstep.strategy.lane import Lane, LaneState, Terms
from lockstep.strategy.matching import CASH, CLOSE, NO_ORDER, POSITION, Account
from lockstep.strategy.sizing import contracts, entry_order

FLAT = 0.0


class ParityStrategy(bt.Strategy):
    """Trades one lane: one decision per completed bar of its own feed.

    >>> from lockstep.strategy import IbsStrategy
    >>> issubclass(IbsStrategy, ParityStrategy)
    True
    """

    params = (("lane", None),)
    decide: ClassVar[Callable[..., int]]

    def __init__(self) -> None:
        super().__init__()
        self._feed = self.p.lane.feed
        self._instrument = self.p.lane.market.instrument
        self._seen = 0
        self._entry_bar = 0
        self._trade: records.TradeRecord | None = None
        self._required = HOLD
        self._watched = True
        self.clear()
        self.change(self.p.lane)

    def change(self, lane: Lane) -> None:
        """Decide by `lane` from the next bar on; StrategyError where it trades something else."""
        if lane.feed is not self._feed:
            raise StrategyError(f"{self._instrument.symbol}: a lane with another feed cannot take over")
        self._terms = Terms.of(lane)
        self._lane = lane

    def require_exit(self, code: int) -> None:
        """Leave the open position at the next bar of a session, for `code`, whatever the rules say."""
        self._required = code

    def leave_now(self, code: int, decision: int) -> None:
        """Send the exit of the open position, for `code`, without a bar: decided at `decision`, UTC ns.

        Nothing where there is no position, or an order waits.
        """
        account = self.broker.account(self._feed)
        if account[POSITION] != FLAT and self.broker.waiting(self._feed) is None:
            self._exit(decision, code, account)

    @property
    def required_exit(self) -> int:
        """The code of the exit that was required, HOLD for none; it ends with the position."""
        return self._required

    def start(self) -> None:
        """Take over what an earlier engine left."""
        self._watched = self._is_watched()
        state = self._lane.state
        if state is None:
            return
        self._entry_bar = 1 - state.bars_held
        self._trade = records.TradeRecord(**state.trade) if state.trade else None
        self.broker.restore(self._feed, state.account, state.waiting, owner=self)

    @property
    def open_decision(self) -> int:
        """The decision stamp of the open trade, 0 without one."""
        return self._trade.decision if self._trade else 0

    @property
    def symbol(self) -> str:
        """The traded symbol."""
        return str(self._instrument.symbol)

    @property
    def state(self) -> LaneState:
        """What the lane carries from this bar to the next."""
        account = self.broker.account(self._feed)
        return LaneState(
            account=account,
            waiting=self.broker.waiting(self._feed),
            trade=self._trade.fields if self._trade else None,
            bars_held=self._seen - self._entry_bar + 1 if account[POSITION] != FLAT else 0,
        )

    def prenext(self) -> None:
        """Decide also while another instrument's feed has not begun."""
        self.next()

    def next(self) -> None:
        """Decide on the present bar, once, and act."""
        feed = self._feed
        if len(feed) == self._seen:
            return
        self._seen = len(feed)
        stamp, close = feed.stamp(), feed.prices()[CLOSE]
        account = self.broker.account(feed)
        code, probability, values = self._decision(stamp, account[POSITION])
        if code in ENTRIES or code in EXITS:
            code = ORDER_WAITING if self.broker.waiting(feed) else code
        if code in ENTRIES:
            quantity = contracts(values, close, self._terms.sizing)
            if quantity == 0.0:
                code = SIZE_ZERO
            else:
                self._enter(stamp, code, quantity, probability, values)
        elif code in EXITS:
            self._exit(stamp, code, account)
        self._lane.recorder.decision(stamp, values, probability, code, self._reason(code, stamp))
        self._mark(stamp, close)
        self._hand_out()
        if self._lane.on_bar is not None:
            self._lane.on_bar(self._seen)

    def _decision(self, stamp: int, position: float) -> tuple[int, float, Any]:
        """Return (code, probability or NaN where the model was not asked, the frozen vector)."""
        values = self._lane.source.vector(stamp)
        clock = self._lane.clock.at(stamp)
        holding = (
            (math.copysign(1.0, position), float(self._seen - self._entry_bar + 1))
            if position != FLAT
            else (0.0, 0.0)
        )
        decide, rules, filters = type(self).decide, self._terms.rules, self._terms.filters
        veto = self._lane.veto
        code = decide(values, PASS, clock, holding, rules, filters)
        if self._required != HOLD and position != FLAT and code != OUTSIDE_SESSION:
            return self._required, math.nan, values
        if veto is None or code not in ENTRIES:
            return code, math.nan, values
        probability = veto.probability(values[list(self._terms.model_columns)])
        return decide(values, probability, clock, holding, rules, filters), probability, values

    def _reason(self, code: int, stamp: int) -> str:
        """Return the decision in words: names the filter, or the missing id and why it is missing."""
        if code < COLUMN_CODES:
            return NAMES[code]
        if code >= FILTERED:
            return f"filter {self._lane.config.filters[code - FILTERED].feature}"
        column = code - MISSING
        return f"{self._lane.source.absence(column, stamp)} {self._lane.source.plan.ids[column]}"

    def _enter(self, stamp: int, code: int, quantity: float, probability: float, values: Any) -> None:
        signed = quantity if code == ENTER_LONG else -quantity
        terms = entry_order(signed, values, self._terms.exits)
        self._submit(terms, decision=stamp, intent=records.ENTRY, code=code, probability=probability)

    def _exit(self, stamp: int, code: int, account: Account) -> None:
        terms = (-account[POSITION], *NO_ORDER[1:])
        self._submit(terms, decision=stamp, intent=records.EXIT, code=code, probability=math.nan)

    def _submit(self, terms: Any, *, decision: int, intent: str, code: int, probability: float) -> None:
        send = self.buy if terms[0] > 0.0 else self.sell
        send(
            data=self._feed,
            size=abs(terms[0]),
            terms=terms,
            decision=decision,
            intent=intent,
            reason=NAMES[code],
            probability=probability,
        )

    def _mark(self, stamp: int, close: float) -> None:
        account = self.broker.account(self._feed)
        equity = self.broker.equity(self._feed, close)
        self._lane.recorder.mark(stamp, close, account[POSITION], account[CASH], equity)

    def notify_order(self, order: Any) -> None:
        """Write down each state of an order; keep the trade from flat to flat."""
        if order.status == order.Submitted:
            return
        if order.status not in (order.Accepted, order.Completed, order.Canceled):
            raise StrategyError(f"{self._instrument.symbol}: order {order.ref} is {order.getstatusname()}")
        filled = order.status == order.Completed
        level = order.created.price if order.exectype != order.Market else math.nan
        record = records.OrderRecord(
            symbol=self._instrument.symbol,
            reference=order.ref,
            decision=order.info.decision,
            intent=order.info.intent,
            reason=order.info.reason,
            status=order.getstatusname().lower(),
            stamp=order.info.stamp if filled else self._feed.stamp(),
            quantity=order.size,
            price=order.info.price if filled else level,
            commission=order.info.commission if filled else 0.0,
            slippage=order.info.slippage if filled else 0.0,
        )
        self._lane.recorder.order(record)
        if filled and record.intent == records.ENTRY:
            self._opened(record, order.info.probability)
        elif filled:
            self._closed(record)

    # What Backtrader does around a bar. It keeps books of its own for indicators, observers, analyzers and
    # trades, which cost more than the decision; where there is nothing to keep them for, they are left out.

    def _is_watched(self) -> bool:
        """Return whether anything is there that reads Backtrader's own books."""
        attached = (
            *self._lineiterators.values(),
            self.analyzers,
            self._slave_analyzers,
            self.cerebro.runwriters,
        )
        return any(map(len, attached)) or any(
            getattr(type(self), name) is not getattr(bt.Strategy, name)
            for name in ("notify_trade", "notify_cashvalue", "notify_fund")
        )

    def _next(self) -> None:
        super()._next() if self._watched else self._step()

    def _oncepost(self, dt: float) -> None:
        super()._oncepost(dt) if self._watched else self._step()

    def _step(self) -> None:
        pending = self._orderspending
        self.clear()
        for order in pending:
            self.notify_order(order)
        self.next()

    def _addnotification(self, order: Any, quicknotify: bool = False) -> None:
        if self._watched:
            super()._addnotification(order, quicknotify)
        else:
            self._orderspending.append(order)

    def clear(self) -> None:
        """Forget what was handed out; Backtrader would keep a copy of every state of every order."""
        self._orderspending: list[Any] = []
        self._tradespending: list[Any] = []

    def stop(self) -> None:
        """Hand out what the last bar left at the broker, so that no order state is lost."""
        self._hand_out()

    def _hand_out(self) -> None:
        """Report order states at the bar that caused them; Backtrader would wait for the next one."""
        while (order := self.broker.get_notification()) is not None:
            order.owner.notify_order(order)

    def _opened(self, record: records.OrderRecord, probability: float) -> None:
        self._entry_bar = self._seen + 1
        self._trade = records.TradeRecord(
            symbol=record.symbol,
            decision=record.decision,
            quantity=record.quantity,
            entry_stamp=record.stamp,
            entry_price=record.price,
            probability=probability,
            commission=record.commission,
            slippage=record.slippage,
        )
        self._lane.recorder.trade(self._trade)

    def _closed(self, record: records.OrderRecord) -> None:
        trade = self._trade
        if trade is None or record.quantity != -trade.quantity:
            raise StrategyError(f"{record.symbol}: order {record.reference} closes what was not opened")
        trade.exit_decision = record.decision if record.intent == records.EXIT else 0
        trade.exit_stamp, trade.exit_price, trade.exit_reason = record.stamp, record.price, record.reason
        trade.bars_held = self._seen + 1 - self._entry_bar
        trade.commission += record.commission
        trade.slippage += record.slippage
        self._trade = None
        self._required = HOLD
