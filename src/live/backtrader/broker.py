"""The broker inside Cerebro when it runs live: orders pass a gate; fills are simulated or reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from lockstep.errors import LiveError
from lockstep.live.backtrader.feed import BarSetStage
from lockstep.live.messages import OrderIntent, Refusal, ReportedFill
from lockstep.strategy.backtrader.broker import Book, SimulatedBroker
from lockstep.strategy.matching import CLOSE, NO_ORDER, POSITION, Order, execute

_KINDS = {"market": 0, "stop": 1, "target": 2}


class Gate(Protocol):
    """Asked before any order; see `gateway.py`."""

    def review(self, intent: OrderIntent) -> Refusal | None:
        """Return why the order must not go, or None."""


class GatedBroker(SimulatedBroker):
    """The simulated broker behind a gate: modes paper and shadow.

    order_id   makes the id of an order from (symbol, decision stamp, intent)
    version    the model version that trades a symbol, for the order's metadata
    passed     told of every order that went through
    sized      the order at the size that the roll-out allows, or why it is none
    """

    def __init__(
        self,
        stage: BarSetStage,
        gate: Gate,
        *,
        order_id: Callable[[str, int, str], str],
        version: Callable[[str], str],
        passed: Callable[[OrderIntent], None],
        sized: Callable[[OrderIntent], OrderIntent | Refusal],
    ) -> None:
        super().__init__()
        self._stage = stage
        self._gate = gate
        self._order_id = order_id
        self._version = version
        self._passed = passed
        self._sized = sized

    def next(self) -> None:
        """Run the books; it is the moment at which all feeds of a round have been asked."""
        self._stage.close_round()
        super().next()

    def _market(self, owner: Any, data: Any, quantity: float, *_: Any, **kwargs: Any) -> Any:
        wanted = self._sized(self._intent(data, quantity, **kwargs))
        if isinstance(wanted, Refusal):
            return self._refused(owner, data, quantity, wanted, kwargs)
        refusal = self._gate.review(wanted)
        if refusal is not None:
            return self._refused(owner, data, quantity, refusal, kwargs)
        sent = {**kwargs, "terms": wanted.terms, "order_id": wanted.order_id}
        order = super()._market(owner, data, wanted.quantity, **sent)
        self._passed(wanted)
        return order

    def leaves(self, feed: Any) -> bool:
        """Return whether a stop or target that was reported will close the position with the next set."""
        return False

    def withdraw(self, feed: Any, order_id: str) -> None:
        """Take back a market order that has not filled and will not: it never left, or was not placed."""
        working = self._books[feed].working
        if working is not None and working.info.order_id == order_id:
            self.cancel(working)

    def _intent(
        self,
        data: Any,
        quantity: float,
        *,
        terms: Order,
        decision: int,
        intent: str,
        reason: str,
        probability: float,
        **_: Any,
    ) -> OrderIntent:
        symbol = data._name
        return OrderIntent(
            order_id=self._order_id(symbol, decision, intent),
            symbol=symbol,
            intent=intent,
            quantity=quantity,
            reference=data.prices()[CLOSE],
            terms=terms,
            decision=decision,
            reason=reason,
            probability=probability,
            version=self._version(symbol),
        )

    def _refused(self, owner: Any, data: Any, quantity: float, refusal: Refusal, info: dict[str, Any]) -> Any:
        """Return an order that was withdrawn before it left, its reason naming the rule."""
        order = self._working_order(
            self._books[data],
            owner,
            quantity,
            decision=info["decision"],
            intent=info["intent"],
            reason=f"refused: {refusal.rule}",
            probability=info["probability"],
        )
        self._cancelled(order)
        return order


class ReportedBroker(GatedBroker):
    """Mode live: nothing fills by itself; a source of fills reports what the real broker did."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._reported: list[tuple[Any, ReportedFill]] = []

    def report(self, feed: Any, fill: ReportedFill) -> None:
        """Take a fill; it is booked with the next bar, where a simulated one would be."""
        self._reported.append((feed, fill))

    def next(self) -> None:
        """Close the round and book what was reported; no order is matched."""
        self._stage.close_round()
        reported, self._reported = self._reported, []
        for feed, fill in reported:
            self._booked(self._books[feed], fill)

    def leaves(self, feed: Any) -> bool:
        """Return whether a stop or target that was reported will close the position with the next set."""
        return any(each is feed and fill.kind != "market" for each, fill in self._reported)

    def _booked(self, book: Book, fill: ReportedFill) -> None:
        """Book a fill; LiveError where no order is open that it could belong to.

        An entry may fill for less than was asked: the account then holds what was filled. An exit, stop or
        target must close the position. An exit that is still expected when a stop or target has closed it
        finds nothing to close: nobody waits for it any more.
        """
        kind = _KINDS[fill.kind]
        if kind == 0 and book.working is not None and not book.account[POSITION]:
            _, *distances = book.terms
            book.terms = _order(fill.quantity, *distances)
            book.working = self._resized(book, fill.quantity)
        self._require(book, fill, kind)
        order = book.terms if kind == 0 else (fill.quantity, *NO_ORDER[1:])
        usual = book.costs
        book.costs = (*usual[:3], fill.commission / abs(fill.quantity), 0.0, 0.0)
        try:
            after = execute(book.account, order, fill.price, book.costs)
            if kind == 0:
                self._market_filled(book, fill.price, after)
            else:
                self._protective_filled(book, kind, fill.price, after)
                if book.working is not None:
                    self.cancel(book.working)
        finally:
            book.costs = usual

    def withdraw(self, feed: Any, order_id: str) -> None:
        """Take an order back as elsewhere; one whose fill was reported has left, whatever is said of it."""
        if all(fill.order_id != order_id for _, fill in self._reported):
            super().withdraw(feed, order_id)

    def _resized(self, book: Book, quantity: float) -> Any:
        info = book.working.info
        return self._working_order(
            book, book.working.owner, quantity,
            decision=info.decision, intent=info.intent, reason=info.reason, probability=info.probability,
            order_id=info.order_id,
        )  # fmt: skip

    def _require(self, book: Book, fill: ReportedFill, kind: int) -> None:
        position = book.account[POSITION]
        there = book.working is not None if kind == 0 else kind in book.protective
        if not there or (position and fill.quantity != -position):
            raise LiveError(
                f"fill {fill.fill_id} of {fill.quantity:g} {fill.symbol} ({fill.kind}): the account holds "
                f"{position:g} and expects no such fill; check the statement, then resolve it by hand"
            )


def _order(quantity: float, stop: float, stop_points: float, target: float, target_points: float) -> Order:
    return (quantity, stop, stop_points, target, target_points)
