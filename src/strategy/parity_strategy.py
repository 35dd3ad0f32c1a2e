"""The base of all strategies: gathers a decision's arguments, acts on its answer, writes it down.

It knows nothing of IBS. A family of strategies is a config and a compiled `decide`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import backtrader as bt

from lockstep.errors import StrategyError
from lockstep.features.source import FeatureSource
from lockstep.market.history import Market
from lockstep.strategy import records
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.config import ACCEPT_ALL, StrategyConfig
from lockstep.strategy.decision import (
    COLUMN_CODES,
    ENTER_LONG,
    ENTRIES,
    EXITS,
    FILTERED,
    MISSING,
    NAMES,
    PASS,
    SIZE_ZERO,
)
from lockstep.strategy.matching import CASH, CLOSE, NO_ORDER, POSITION, Account
from lockstep.strategy.sizing import contracts, entry_order
from lockstep.strategy.veto import Veto

FLAT = 0.0


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One traded instrument: everything its strategy works with.

    feed      the Backtrader feed of its bars
    source    feature vectors; its ids are `config.feature_ids`, then what only the model reads
    clock     session readings; the broker reads the same
    recorder  where decisions, orders, trades and marks are reported
    veto      the model, or None
    on_bar    called with the number of bars seen, for progress displays
    """

    feed: Any
    market: Market
    config: StrategyConfig
    source: FeatureSource
    clock: SessionClock
    recorder: records.Recorder
    veto: Veto | None = None
    on_bar: Callable[[int], None] | None = None


def vector_ids(config: StrategyConfig, veto: Veto | None) -> tuple[str, ...]:
    """Return the ids of the decision vector: the config's, then those that only the model reads."""
    return tuple(dict.fromkeys((*config.feature_ids, *(veto.feature_ids if veto else ()))))


class ParityStrategy(bt.Strategy):
    """Trades one lane: one decision per completed bar of its own feed."""

    params = (("lane", None),)
    decide: ClassVar[Callable[..., int]]

    def __init__(self) -> None:
        super().__init__()
        lane: Lane = self.p.lane
        expected = vector_ids(lane.config, lane.veto)
        if lane.source.plan.ids != expected:
            raise StrategyError(f"{lane.config.name}: vector {lane.source.plan.ids} is not {expected}")
        self._lane = lane
        self._feed = lane.feed
        self._instrument = lane.market.instrument
        threshold = lane.veto.threshold if lane.veto else ACCEPT_ALL
        self._rules = lane.config.rules(lane.market.session, threshold)
        self._filters = lane.config.filter_rules()
        self._sizing = lane.config.sizing_rules(self._instrument)
        self._exits = lane.config.exit_rules()
        self._model_columns = [expected.index(each) for each in lane.veto.feature_ids] if lane.veto else []
        self._seen = 0
        self._entry_bar = 0
        self._trade: records.TradeRecord | None = None

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
        if code in ENTRIES:
            quantity = contracts(values, close, self._sizing)
            if quantity == 0.0:
                code = SIZE_ZERO
            else:
                self._enter(stamp, code, quantity, probability, values)
        elif code in EXITS:
            self._exit(stamp, code, account)
        self._lane.recorder.decision(stamp, values, probability, code, self._reason(code, stamp))
        self._mark(stamp, close)
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
        decide, rules, filters = type(self).decide, self._rules, self._filters
        veto = self._lane.veto
        if veto is None:
            return decide(values, PASS, clock, holding, rules, filters), math.nan, values
        code = decide(values, PASS, clock, holding, rules, filters)
        if code not in ENTRIES:
            return code, math.nan, values
        probability = veto.probability(values[self._model_columns])
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
        terms = entry_order(signed, values, self._exits)
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

    def clear(self) -> None:
        """Forget what was handed out; Backtrader would keep a copy of every state of every order."""
        self._orderspending: list[Any] = []
        self._tradespending: list[Any] = []

    def stop(self) -> None:
        """Hand out what the last bar left at the broker, so that no order state is lost."""
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
