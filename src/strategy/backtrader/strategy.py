"""The strategy of every family: gathers what a decision is taken on, acts on its answer, writes it down.

The decision itself is `step.step`; which `decide` it calls is a matter of the configuration's family.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import backtrader as bt

from lockstep.errors import StrategyError
from lockstep.strategy import records
from lockstep.strategy.decision import ENTRIES, HOLD, NAMES
from lockstep.strategy.lane import Lane, LaneState
from lockstep.strategy.matching import CASH, CLOSE, POSITION, Account
from lockstep.strategy.step import DecisionRules, PositionState, exit_order, step

FLAT = 0.0


class ParityStrategy(bt.Strategy):
    """Trades one lane: one decision per completed bar of its own feed.

    family   name of the only family that a subclass trades, empty for any
    decide   in place of the family's own, None for that

    >>> from lockstep.strategy import IbsStrategy
    >>> issubclass(IbsStrategy, ParityStrategy)
    True
    """

    params = (("lane", None),)
    family: ClassVar[str] = ""
    decide: ClassVar[Callable[..., int] | None] = None

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
        if self.family and lane.config.family != self.family:
            raise StrategyError(
                f"{lane.config.name}: {type(self).__name__} trades the family {self.family}, not "
                f"{lane.config.family}"
            )
        self._rules = DecisionRules.of(
            lane.config, lane.market, lane.veto, lane.source.plan.ids, decide=type(self).decide
        )
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
            self._submit(
                exit_order(account[POSITION]),
                decision=decision,
                intent=records.EXIT,
                code=code,
                probability=math.nan,
            )

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
        values = self._lane.source.vector(stamp)
        code, probability, order = step(
            self._rules, values, close, self._lane.clock.at(stamp), self._position(account)
        )
        if order is not None:
            intent = records.ENTRY if code in ENTRIES else records.EXIT
            self._submit(order, decision=stamp, intent=intent, code=code, probability=probability)
        self._lane.recorder.decision(stamp, values, probability, code, self._reason(code, stamp))
        self._mark(stamp, close)
        self._hand_out()
        if self._lane.on_bar is not None:
            self._lane.on_bar(self._seen)

    def _position(self, account: Account) -> PositionState:
        held = self._seen - self._entry_bar + 1 if account[POSITION] != FLAT else 0
        waiting = self.broker.waiting(self._feed) is not None
        return PositionState(account[POSITION], held, waiting, self._required)

    def _reason(self, code: int, stamp: int) -> str:
        """Return the decision in words; only a missing value needs the source to say why it is missing."""
        return self._rules.reason(code, lambda column: self._lane.source.absence(column, stamp))

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
