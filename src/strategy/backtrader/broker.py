"""The simulated broker: Backtrader's order flow around the compiled `match`, one account per feed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import backtrader as bt

from lockstep.errors import StrategyError
from lockstep.market.instrument import Instrument
from lockstep.strategy import records
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.decision import IN_SESSION
from lockstep.strategy.lane import WaitingOrder
from lockstep.strategy.matching import (
    CASH,
    CLOSE,
    ENTRY_PRICE,
    MULTIPLIER,
    NO_FILL,
    NO_ORDER,
    POSITION,
    QUANTITY,
    SLIPPAGE,
    STOP,
    STOP_FILL,
    TARGET,
    TARGET_FILL,
    Account,
    Costs,
    Order,
    equity,
    execute,
    fee,
    market_price,
    match,
    opening_account,
)

_INTENTS = {STOP_FILL: records.STOP, TARGET_FILL: records.TARGET}
_EXECTYPES = {STOP_FILL: bt.Order.Stop, TARGET_FILL: bt.Order.Limit}


@dataclass(slots=True, kw_only=True)
class Book:
    """One instrument at the broker: its account and its working orders."""

    feed: Any
    costs: Costs
    clock: SessionClock
    at_close: bool
    account: Account
    seen: int = 0
    working: Any = None
    terms: Order = NO_ORDER
    protective: dict[int, Any] = field(default_factory=dict)


class SimulatedBroker(bt.BrokerBase):
    """Fills orders with `matching.py`; margin is not simulated, and cancelling takes effect at once.

    >>> broker = SimulatedBroker()  # `build_cerebro` makes one and opens an account per lane
    >>> broker.getcash()
    0
    """

    def __init__(self) -> None:
        super().__init__()
        self.startingcash = 0.0
        self._books: dict[Any, Book] = {}
        self._notifications: deque[Any] = deque()

    def open_book(
        self, feed: Any, instrument: Instrument, clock: SessionClock, *, cash: float, at_close: bool
    ) -> None:
        """Add an account of `cash` USD for `feed`; `at_close` fills at the signal bar's close."""
        self._books[feed] = Book(
            feed=feed,
            costs=instrument.costs,
            clock=clock,
            at_close=at_close,
            account=opening_account(cash),
        )
        self.startingcash += cash
        self.addcommissioninfo(
            bt.CommInfoBase(
                commission=instrument.commission,
                mult=instrument.multiplier,
                margin=1.0,
                commtype=bt.CommInfoBase.COMM_FIXED,
                stocklike=False,
            ),
            name=instrument.symbol,
        )

    def account(self, feed: Any) -> Account:
        """Return the account of `feed`; see `matching.py`."""
        return self._books[feed].account

    def waiting(self, feed: Any) -> WaitingOrder | None:
        """Return the market order of `feed` that has not filled, or None."""
        book = self._books[feed]
        if book.working is None:
            return None
        info = book.working.info
        return WaitingOrder(
            terms=book.terms,
            decision=info.decision,
            intent=info.intent,
            reason=info.reason,
            probability=info.probability,
            order_id=info.get("order_id", ""),
        )

    def restore(self, feed: Any, account: Account, waiting: WaitingOrder | None, *, owner: Any) -> None:
        """Begin with the account and the working orders that an earlier engine left; nobody is told."""
        book = self._books[feed]
        book.account = account
        if waiting is not None:
            book.terms = waiting.terms
            book.working = self._working_order(
                book,
                owner,
                waiting.terms[QUANTITY],
                decision=waiting.decision,
                intent=waiting.intent,
                reason=waiting.reason,
                probability=waiting.probability,
                order_id=waiting.order_id,
            )
        if account[POSITION]:
            book.protective = self._protection(book, owner, owner.open_decision)

    def equity(self, feed: Any, price: float) -> float:
        """Return the equity of the account of `feed`, in USD, marked at `price`."""
        book = self._books[feed]
        return equity(book.account, price, book.costs[MULTIPLIER])

    def getcash(self) -> float:
        """Return the cash of all accounts, in USD."""
        return sum(book.account[CASH] for book in self._books.values())

    def getvalue(self, datas: Any = None) -> float:
        """Return the equity of the accounts of `datas` (all by default), marked at the present closes."""
        books = self._books.values() if datas is None else [self._books[data] for data in datas]
        return sum(self.equity(book.feed, book.feed.prices()[CLOSE]) for book in books)

    def getposition(self, data: Any) -> bt.Position:
        """Return the position of `data` as Backtrader shows it."""
        account = self._books[data].account
        return bt.Position(account[POSITION], account[ENTRY_PRICE] if account[POSITION] else 0.0)

    def buy(self, owner: Any, data: Any, size: float, **kwargs: Any) -> Any:
        """Submit a market order to buy; see `_market`."""
        return self._market(owner, data, size, **kwargs)

    def sell(self, owner: Any, data: Any, size: float, **kwargs: Any) -> Any:
        """Submit a market order to sell; see `_market`."""
        return self._market(owner, data, -size, **kwargs)

    def _market(
        self,
        owner: Any,
        data: Any,
        quantity: float,
        price: float | None = None,
        plimit: float | None = None,
        exectype: int | None = None,
        valid: Any = None,
        tradeid: int = 0,
        oco: Any = None,
        trailamount: float | None = None,
        trailpercent: float | None = None,
        parent: Any = None,
        transmit: bool = True,
        *,
        terms: Order,
        **info: Any,
    ) -> Any:
        """Take one market order per book; `terms` carries the distances of its protective orders."""
        book = self._books[data]
        if exectype not in (None, bt.Order.Market):
            raise StrategyError(
                f"{data._name}: orders are market orders with protective distances in `terms`"
            )
        if book.working is not None:
            raise StrategyError(f"{data._name}: order {book.working.ref} is still working; one at a time")
        order = self._working_order(book, owner, quantity, **info)
        book.terms = terms
        book.working = order
        self._notify(order)
        if book.at_close:
            price = market_price(terms[QUANTITY], data.prices()[CLOSE], book.costs)
            self._market_filled(book, price, execute(book.account, terms, price, book.costs))
        return order

    def cancel(self, order: Any) -> None:
        """Withdraw a market order that has not filled; StrategyError for any other order."""
        book = self._books[order.data]
        if book.working is None or book.working.ref != order.ref:
            raise StrategyError(f"order {order.ref}: not a waiting market order, cannot be cancelled")
        book.working, book.terms = None, NO_ORDER
        self._cancelled(order)

    def next(self) -> None:
        """Run the new bar of each feed through its book."""
        for book in self._books.values():
            if len(book.feed) > book.seen:
                book.seen = len(book.feed)
                if (book.account[POSITION] or book.working is not None) and self._is_open(book):
                    self._match(book)

    def _is_open(self, book: Book) -> bool:
        return book.clock.at(book.feed.stamp())[IN_SESSION] != 0.0

    def _match(self, book: Book) -> None:
        opened, market, closed, kind, price = match(book.account, book.terms, book.feed.prices(), book.costs)
        if book.working is not None:
            self._market_filled(book, market, opened)
        if kind != NO_FILL:
            self._protective_filled(book, kind, price, closed)

    def _market_filled(self, book: Book, price: float, after: Account) -> None:
        order, book.working, book.terms = book.working, None, NO_ORDER
        self._complete(book, order, price, after, book.costs[SLIPPAGE])
        if after[POSITION]:
            self._place_protective(book, order)
        else:
            self._cancel_protective(book)

    def _protective_filled(self, book: Book, kind: int, price: float, after: Account) -> None:
        order = book.protective.pop(kind)
        self._complete(book, order, price, after, book.costs[SLIPPAGE] if kind == STOP_FILL else 0.0)
        self._cancel_protective(book)

    def _place_protective(self, book: Book, entry: Any) -> None:
        book.protective = self._protection(book, entry.owner, entry.info.decision)
        for order in book.protective.values():
            self._notify(order)

    def _protection(self, book: Book, owner: Any, decision: int) -> dict[int, Any]:
        """Return accepted orders for the stop and the target that the account has."""
        levels = {STOP_FILL: book.account[STOP], TARGET_FILL: book.account[TARGET]}
        return {
            kind: self._working_order(
                book,
                owner,
                -book.account[POSITION],
                price=level,
                exectype=_EXECTYPES[kind],
                decision=decision,
                intent=_INTENTS[kind],
                reason=_INTENTS[kind],
            )
            for kind, level in levels.items()
            if level == level
        }

    def _cancel_protective(self, book: Book) -> None:
        for order in book.protective.values():
            self._cancelled(order)
        book.protective = {}

    def _cancelled(self, order: Any) -> None:
        # Backtrader reads the time of the feed's bar, and the feed may stand before its first one.
        order.p.simulated = not len(order.data)
        order.cancel()
        order.p.simulated = False
        self._notify(order)

    def _working_order(
        self,
        book: Book,
        owner: Any,
        quantity: float,
        *,
        price: float | None = None,
        exectype: int = bt.Order.Market,
        **info: Any,
    ) -> Any:
        """Return an order that the broker has accepted; nobody is told yet."""
        kind = bt.order.BuyOrder if quantity > 0.0 else bt.order.SellOrder
        # Until it is accepted Backtrader must not read the feed, which may stand before its first bar.
        order = kind(
            owner=owner, data=book.feed, size=abs(quantity), price=price, exectype=exectype, simulated=True
        )
        order.addinfo(**info)
        order.addcomminfo(self.getcommissioninfo(book.feed))
        order.submit(self)
        order.accept(self)
        order.p.simulated = False
        return order

    def _complete(self, book: Book, order: Any, price: float, after: Account, slippage: float) -> None:
        """Book a whole fill on Backtrader's order, as its trades and analyzers expect it."""
        before, book.account = book.account, after
        multiplier, quantity = book.costs[MULTIPLIER], order.size
        paid = fee(quantity, price, book.costs)
        closes = before[POSITION] != 0.0
        profit = (price - before[ENTRY_PRICE]) * before[POSITION] * multiplier if closes else 0.0
        # Backtrader averages an order's price over its fills, which loses the last bit.
        order.addinfo(
            stamp=book.feed.stamp(),
            price=price,
            commission=paid,
            slippage=slippage * multiplier * abs(quantity),
        )
        order.execute(
            book.feed.datetime[0],
            quantity,
            price,
            *((quantity, 0.0, paid, 0.0, 0.0, 0.0) if closes else (0.0, 0.0, 0.0, quantity, 0.0, paid)),
            0.0,
            profit,
            after[POSITION],
            price,
        )
        order.completed()
        self._notify(order)

    def _notify(self, order: Any) -> None:
        self._notifications.append(order.clone())

    def get_notification(self) -> Any:
        """Return the oldest order state that was not handed out yet, or None."""
        return self._notifications.popleft() if self._notifications else None
