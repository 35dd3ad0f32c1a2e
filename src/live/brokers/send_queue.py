"""`SendQueue`: which message leaves next. Pure: threads carry it out in production, a simulator in tests.

1. Of one instrument a single message is on its way at a time, in the order in which they came: the broker
   must see an exit before the entry that was decided after it. Instruments never wait for each other.
2. Among the instruments that are free an exit goes first, then what came first.
3. An exit withdraws the entries of its instrument that have not left (`rejected`: that is certain). What it
   closes was opened before them, so they would open risk that nobody asked for any more. An entry on its way
   cannot be called back: the exit waits for its result, which a deadline brings.
4. An entry waits `entry_seconds` at most, and `capacity` entries may wait: one that leaves late was reviewed
   at another price. Exits are always taken; there is one per position.
5. Every id is taken once and gets one result.
"""

from __future__ import annotations

from typing import NamedTuple

from lockstep.errors import LiveError
from lockstep.live.brokers.protocol import Message
from lockstep.live.messages import OrderIntent, SendResult


class Outgoing(NamedTuple):
    """A message on its way out. since   when it was offered, seconds on the clock of the queue."""

    intent: OrderIntent
    message: Message
    since: float


class SendQueue:
    """Takes messages with `offer`, hands out the one to send with `next`, and hears its result in `done`.

    Results, those of messages that never leave included, wait in `results`. Times are seconds on any clock
    that does not go back.
    """

    def __init__(self, *, capacity: int, entry_seconds: float) -> None:
        self._capacity = capacity
        self._entry_seconds = entry_seconds
        self._waiting: dict[str, Outgoing] = {}
        self._sending: dict[str, OrderIntent] = {}
        self._seen: set[str] = set()
        self._results: list[SendResult] = []
        self._closed = False

    def __len__(self) -> int:
        """Return how many messages wait or are on their way."""
        return len(self._waiting) + len(self._sending)

    @property
    def waiting(self) -> int:
        """How many messages have not left."""
        return len(self._waiting)

    def offer(self, intent: OrderIntent, message: Message, now: float) -> None:
        """Take a message. LiveError for an id that was offered before."""
        if intent.order_id in self._seen:
            raise LiveError(f"order {intent.order_id}: was submitted before; an order is sent at most once")
        self._seen.add(intent.order_id)
        if self._closed:
            self._reject(intent, "the sender is not running")
        elif intent.opens and sum(each.intent.opens for each in self._waiting.values()) >= self._capacity:
            self._reject(intent, f"{self._capacity} entries wait already")
        else:
            if not intent.opens:
                self._withdraw_entries(intent)
            self._waiting[intent.order_id] = Outgoing(intent, message, now)

    def next(self, now: float) -> Outgoing | None:
        """Return the message to send now, which is on its way from then on; None where none may leave."""
        for each in [each for each in self._waiting.values() if each.intent.opens]:
            if now - each.since > self._entry_seconds:
                self._reject(each.intent, f"not sent within {self._entry_seconds:g} s: expired in the queue")
        busy = {intent.symbol for intent in self._sending.values()}
        heads: dict[str, Outgoing] = {}
        for each in self._waiting.values():
            if each.intent.symbol not in busy:
                heads.setdefault(each.intent.symbol, each)
        if not heads:
            return None
        first = min(heads.values(), key=lambda each: each.intent.opens)  # the oldest of equals
        self._sending[first.intent.order_id] = self._waiting.pop(first.intent.order_id).intent
        return first

    def done(self, result: SendResult) -> None:
        """Take the result of a message on its way; what comes after `close` changes nothing."""
        if self._sending.pop(result.order_id, None) is not None:
            self._results.append(result)

    def results(self) -> list[SendResult]:
        """Return the results since the last call."""
        found, self._results = self._results, []
        return found

    def close(self) -> None:
        """Give every message its result: what never left is `rejected`, what is on its way `unknown`."""
        self._closed = True
        for each in list(self._waiting.values()):
            self._reject(each.intent, "stopped before it was sent")
        for order_id in list(self._sending):
            self.done(SendResult(order_id, "unknown", "stopped before the broker answered", 1))

    def _withdraw_entries(self, by: OrderIntent) -> None:
        for each in list(self._waiting.values()):
            if each.intent.opens and each.intent.symbol == by.symbol:
                self._reject(each.intent, f"withdrawn: {by.order_id} came before it left")

    def _reject(self, intent: OrderIntent, why: str) -> None:
        self._waiting.pop(intent.order_id, None)
        self._results.append(SendResult(intent.order_id, "rejected", why, 0))
