"""The strategy of every family: gathers what a decision is taken on, acts on its answer, writes it down.

The decision itself is `step.step`; which `decide` it calls is a matter of the configuration's family. Where
somebody admits entries (`admission.py`), a bar has two phases, and `closing.py` calls the second.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import backtrader as bt

from lockstep.errors import StrategyError
from lockstep.market.bars import Floats
from lockstep.strategy import records
from lockstep.strategy.admission import Admission, Admissions, LaneNews, LaneStanding
from lockstep.strategy.decision import (
    ENTRIES,
    EXIT_DAILY_LOSS,
    HOLD,
    IN_SESSION,
    NAMES,
)
from lockstep.strategy.lane import Lane, LaneState
from lockstep.strategy.matching import CASH, CLOSE, POSITION, QUANTITY, Account, Order
from lockstep.strategy.sizing import measured
from lockstep.strategy.step import DecisionRules, PositionState, exit_order, step

FLAT = 0.0


class _Decided(NamedTuple):
    """A decision between the phases of its bar; `entry` is the order that waits to be admitted."""

    stamp: int
    close: float
    values: Floats
    probability: float
    code: int
    entry: Order | None
    in_session: bool


class ParityStrategy(bt.Strategy):
    """Trades one lane: one decision per completed bar of its own feed.

    family   name of the only family that a subclass trades, empty for any
    decide   in place of the family's own, None for that

    >>> from lockstep.strategy import IbsStrategy
    >>> issubclass(IbsStrategy, ParityStrategy)
    True
    """

    params = (("lane", None), ("admissions", None))
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
        self._decided: _Decided | None = None
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
            lane.config,
            lane.market,
            lane.veto,
            lane.source.plan.ids,
            decide=type(self).decide,
            factor=lane.factor,
        )
        self._lane = lane
        self._asked_for = self._columns(self.p.admissions)

    def _columns(self, admissions: Admissions | None) -> tuple[int | None, int | None]:
        """Return the columns of volatility and score; None where there is none."""
        if admissions is None:
            return None, None
        ids = self._rules.ids
        wanted = (admissions.volatility_id, admissions.rank_id)
        for each in wanted:
            if each and each not in ids:
                raise StrategyError(
                    f"{self.symbol}: limits or ranking need {each}, which {self._rules.config.name} does not "
                    "read; add it to its `features`"
                )
        volatility, score = (ids.index(each) if each else None for each in wanted)
        return volatility, score

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
        self._required = self._lane.required
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
        """Decide on the present bar, once, and act; where entries are admitted, `conclude` acts on them."""
        if len(self._feed) == self._seen:
            return
        self._seen = len(self._feed)
        self._decide()
        if self.p.admissions is None:
            self.conclude()

    def _decide(self) -> None:
        """Decide on the present bar; an exit is sent at once."""
        stamp, close = self._feed.stamp(), self._feed.prices()[CLOSE]
        values, clock = self._lane.source.vector(stamp), self._lane.clock.at(stamp)
        position = self._position(self.broker.account(self._feed))
        code, probability, order = step(self._rules, values, close, clock, position)
        is_entry = order is not None and code in ENTRIES
        if order is not None and not is_entry:
            self._submit(order, decision=stamp, intent=records.EXIT, code=code, probability=probability)
        self._decided = _Decided(
            stamp, close, values, probability, code, order if is_entry else None, clock[IN_SESSION] != 0.0
        )

    @property
    def decided_at(self) -> int | None:
        """The stamp of the bar that was decided on and is not concluded, UTC ns; None for none."""
        return self._decided.stamp if self._decided else None

    @property
    def news(self) -> LaneNews | None:
        """What the bar between its phases means to whoever admits entries; None without such a bar."""
        if self._decided is None:
            return None
        _, close, values, probability, _, entry, _ = self._decided
        volatility, score = self._asked_for
        return LaneNews(
            close,
            math.nan if volatility is None else float(values[volatility]),
            float(measured(values, self._rules.sizing)),
            probability,
            math.nan if score is None else float(values[score]),
            entry[QUANTITY] if entry else 0.0,
        )

    @property
    def standing(self) -> LaneStanding:
        """The account, and whether an entry waits to fill."""
        account = self.broker.account(self._feed)
        waiting = self.broker.waiting(self._feed) if account[POSITION] == FLAT else None
        return LaneStanding(account, waiting is not None and waiting.intent == records.ENTRY)

    def conclude(self, admission: Admission | None = None, *, flatten: bool = False) -> None:
        """Send the entry that was decided, as it was or as it was admitted; write the bar down.

        flatten   leave the open position: at this bar where it is one of a session, else at the next
                  such bar. An exit that waits already stays, an entry that waits fills
        """
        decided, self._decided = self._decided, None
        if decided is None:
            if flatten and self._is_held():
                self.require_exit(EXIT_DAILY_LOSS)
            return
        stamp, close, values, probability, code, entry, in_session = decided
        if admission is not None and entry is not None:
            code = admission.code
            entry = (admission.quantity, *entry[1:]) if code in ENTRIES else None
        if entry is not None:
            self._submit(entry, decision=stamp, intent=records.ENTRY, code=code, probability=probability)
        elif flatten and self._is_held():
            if in_session:
                code = EXIT_DAILY_LOSS
                self.leave_now(code, stamp)
            else:
                self.require_exit(EXIT_DAILY_LOSS)
        self._lane.recorder.decision(stamp, values, probability, code, self._reason(code, stamp))
        self._mark(stamp, close)
        self._hand_out()
        if self._lane.on_bar is not None:
            self._lane.on_bar(self._seen)

    def _is_held(self) -> bool:
        """Return whether a position is open that no waiting or required exit closes."""
        is_open = self.broker.account(self._feed)[POSITION] != FLAT
        return is_open and self._required == HOLD and self.broker.waiting(self._feed) is None

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
