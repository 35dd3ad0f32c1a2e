"""The shadow broker: writes down what would be sent, and sends nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from lockstep.errors import LiveError
from lockstep.live.brokers.protocol import Message, OnResult, OutboundBroker
from lockstep.live.messages import OrderIntent, SendResult

_KEPT = 1000


class ShadowBroker:
    """Acknowledges every message itself. `of` is the broker whose messages it writes; it is never started.

    sent    the newest (order id, message) pairs; the journal has all of them
    """

    name = "shadow"
    waiting = 0
    faults = 0

    def __init__(self, of: OutboundBroker) -> None:
        self._of = of
        self._on_result: OnResult | None = None
        self.sent: deque[tuple[str, Message]] = deque(maxlen=_KEPT)

    def check(self, protected: Mapping[str, bool]) -> None:
        """Refuse what the real broker would refuse."""
        self._of.check(protected)

    def message(self, intent: OrderIntent) -> Message:
        """Return the real broker's message."""
        return self._of.message(intent)

    def start(self, on_result: OnResult) -> None:
        """Begin."""
        self._on_result = on_result

    def submit(self, intent: OrderIntent, message: Message) -> None:
        """Keep the message and acknowledge it."""
        if self._on_result is None:
            raise LiveError(f"order {intent.order_id}: the shadow broker was not started")
        self.sent.append((intent.order_id, message))
        self._on_result(SendResult(intent.order_id, "acknowledged", "shadow: nothing was sent", 0))

    def stop(self, timeout: float) -> None:
        """Nothing is on its way."""
