"""The outbox: orders that were committed and must leave, each exactly once."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lockstep.live.brokers.protocol import OutboundBroker
from lockstep.live.events import OrderAcknowledged, OrderRejected, OrderSent, OrderUnknown
from lockstep.live.messages import OrderIntent, Refusal, SendResult
from lockstep.live.netting import exits_of

Settled = OrderAcknowledged | OrderRejected | OrderUnknown
_OUTCOMES: Mapping[str, type[Settled]] = {
    each.kind: each for each in (OrderAcknowledged, OrderRejected, OrderUnknown)
}
WAITING, SENT, UNKNOWN, DONE = "waiting", "sent", "unknown", "done"


@dataclass
class Letter:
    """One order on its way out.

    due      when the market next trades, UTC ns
    filled   whether its fill was reported: then it was placed, whatever is said of the message
    """

    intent: OrderIntent
    due: int
    status: str = WAITING
    filled: bool = False


class Outbox:
    """Sends orders when they are due and journals each step before its effect.

    broker   takes the messages; its results come back through a queue to the engine's thread
    commit   journals an event and returns when it is on disk
    due      (symbol, decision stamp) -> when the order is due, UTC ns
    review   asked again when an order that waited is about to leave: why it must not, or None
    expire   ns after which an order that never left is not sent any more
    """

    def __init__(
        self,
        broker: OutboundBroker,
        commit: Callable[[OrderSent | Settled], object],
        *,
        due: Callable[[str, int], int],
        review: Callable[[OrderIntent], Refusal | None],
        expire: int,
    ) -> None:
        self._broker = broker
        self._commit = commit
        self._due = due
        self._review = review
        self._expire = expire
        self._letters: dict[str, Letter] = {}
        self._results: queue.SimpleQueue[SendResult] = queue.SimpleQueue()

    def open(self, on_result: Callable[[], None]) -> None:
        """Begin to send; `on_result` wakes the engine whenever a result has come."""

        def receive(result: SendResult) -> None:
            self._results.put(result)
            on_result()

        self._broker.start(receive)

    def place(self, intents: Iterable[OrderIntent]) -> None:
        """Take orders whose set is committed; nothing leaves before `send`."""
        for intent in intents:
            self._letters[intent.order_id] = Letter(intent, self._due(intent.symbol, intent.decision))

    def replay(self, event: OrderSent | Settled) -> None:
        """Take a step that an earlier run journaled."""
        letter = self._letters.get(event.order_id)
        if letter is None:
            return
        if isinstance(event, OrderSent):
            letter.status = SENT
        elif isinstance(event, OrderUnknown):
            letter.status = UNKNOWN
        else:
            self._close(letter)

    def doubtful(self) -> list[SendResult]:
        """Return a result for each order that was being sent when the engine died: a byte may have left."""
        return [
            SendResult(order_id, "unknown", "the engine stopped while it was being sent", 0)
            for order_id, letter in self._letters.items()
            if letter.status == SENT
        ]

    def send(self, now: int) -> list[SendResult]:
        """Send what is due, exits before entries; returns a result for each that may not go any more."""
        late = []
        for letter in self._due_letters(now):
            why = self._obstacle(letter, now)
            if why is not None:
                late.append(SendResult(letter.intent.order_id, "rejected", why, 0))
                continue
            intent = letter.intent
            leaving = intent.leaving
            message = self._broker.message(leaving)
            self._commit(
                OrderSent(
                    symbol=intent.symbol,
                    time=now,
                    order_id=intent.order_id,
                    broker=self._broker.name,
                    message=dict(message),
                    unit=intent.unit.symbol if intent.unit else None,
                )
            )
            letter.status = SENT
            self._broker.submit(leaving, message)
        return late

    def _due_letters(self, now: int) -> list[Letter]:
        """Return what is due, the exits first; of each kind in the order in which they were placed."""
        due = [each for each in self._letters.values() if each.status == WAITING and each.due <= now]
        return sorted(due, key=lambda each: each.intent.opens)

    def _obstacle(self, letter: Letter, now: int) -> str | None:
        """Return why an order that is due must not leave, or None.

        A net order that must not open anything goes on with its exits, where it has some.
        """
        if now - letter.due > self._expire:
            return "not sent in time: expired here"
        why = self._held_back(letter.intent)
        if why is not None and (exits := exits_of(letter.intent)) is not None:
            letter.intent = exits
            return self._held_back(exits)
        return why

    def _held_back(self, intent: OrderIntent) -> str | None:
        # Of an ensemble, what one member leaves says nothing of what another one enters.
        if intent.opens and not intent.parts and self._closed_after(intent):
            return "withdrawn: an exit of the instrument was decided after it, and it had not left"
        refusal = self._review(intent)
        return None if refusal is None else f"{refusal.rule}: {refusal.detail}"

    def _closed_after(self, entry: OrderIntent) -> bool:
        """Whether an exit of its instrument was decided later; see rule 3 of the send queue."""
        return any(
            not each.intent.opens
            and each.intent.symbol == entry.symbol
            and each.intent.decision > entry.decision
            for each in self._letters.values()
        )

    def results(self) -> list[SendResult]:
        """Return what came back since the last call."""
        found = []
        while not self._results.empty():
            found.append(self._results.get())
        return found

    def settle(self, result: SendResult, now: int) -> tuple[Settled, OrderIntent] | None:
        """Journal a result; returns it with its order, or None where nobody waits for it."""
        letter = self._letters.get(result.order_id)
        if letter is None:
            return None
        if letter.filled and result.outcome == "unknown":
            detail = f"its fill was reported; of the message: {result.detail}"
            result = result._replace(outcome="acknowledged", detail=detail)
        event = _OUTCOMES[result.outcome](
            symbol=letter.intent.symbol,
            time=now,
            order_id=result.order_id,
            detail=result.detail,
            attempts=result.attempts,
        )
        self._commit(event)
        if result.outcome == "unknown":
            letter.status = UNKNOWN
        else:
            self._close(letter)
        return event, letter.intent

    def resolve(self, order_id: str) -> OrderIntent | None:
        """Forget an UNKNOWN order that the operator resolved."""
        letter = self._letters.get(order_id)
        if letter is None or letter.status != UNKNOWN:
            return None
        self._close(letter)
        return letter.intent

    def filled(self, order_id: str) -> None:
        """Note that the fill of a market order was reported: an UNKNOWN one is not in doubt any more."""
        letter = self._letters.get(order_id)
        if letter is None:
            return
        letter.filled = True
        if letter.status == UNKNOWN:
            self._close(letter)

    def waits(self, order_id: str) -> bool:
        """Whether an order has not begun to leave."""
        letter = self._letters.get(order_id)
        return letter is not None and letter.status == WAITING

    def withdraw(self, order_id: str) -> None:
        """Forget an order that has not begun to leave; any other one stays what it is."""
        if self.waits(order_id):
            self._close(self._letters[order_id])

    def intent(self, order_id: str) -> OrderIntent | None:
        """Return an order that has not been settled."""
        letter = self._letters.get(order_id)
        return letter.intent if letter else None

    @property
    def next_due(self) -> int | None:
        """When the next waiting order is due, UTC ns."""
        return min((each.due for each in self._letters.values() if each.status == WAITING), default=None)

    @property
    def unknown(self) -> frozenset[str]:
        """Symbols with an UNKNOWN order: entries stop there."""
        return frozenset(each.intent.symbol for each in self._letters.values() if each.status == UNKNOWN)

    @property
    def unknown_orders(self) -> tuple[str, ...]:
        """Ids of UNKNOWN orders."""
        return tuple(key for key, each in self._letters.items() if each.status == UNKNOWN)

    def close(self, timeout: float) -> None:
        """Let the sender finish, for at most `timeout` seconds."""
        self._broker.stop(timeout)

    def _close(self, letter: Letter) -> None:
        letter.status = DONE
        del self._letters[letter.intent.order_id]
