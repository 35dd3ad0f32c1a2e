"""`OutboundBroker`: what the engine asks of whoever takes its orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lockstep.live.messages import OrderIntent, SendResult

Message = Mapping[str, Any]
OnResult = Callable[[SendResult], None]


class OutboundBroker(Protocol):
    """Takes orders and says what became of the messages. Every submitted id gets exactly one result.

    name            for journal and status
    reports_fills   whether fills come back by themselves; else live trading needs a source of fills
    waiting         how many messages wait or are on their way
    faults          unexpected errors that its threads survived; none is the only good number
    """

    @property
    def name(self) -> str:
        """The broker's name."""

    @property
    def reports_fills(self) -> bool:
        """Whether it reports fills."""

    @property
    def waiting(self) -> int:
        """How many messages have no result yet."""

    @property
    def faults(self) -> int:
        """How many unexpected errors there were."""

    def check(self, protected: Mapping[str, bool]) -> None:
        """Refuse (LiveError) symbols that it cannot trade; the value says whether entries carry a stop."""

    def message(self, intent: OrderIntent) -> Message:
        """Return what would be sent for an order, as plain JSON: no secret is in it. Pure."""

    def start(self, on_result: OnResult) -> None:
        """Begin; `on_result` is called from any thread, must be quick, and must not block."""

    def submit(self, intent: OrderIntent, message: Message) -> None:
        """Take the message of an order without waiting. LiveError for an id that was submitted before.

        Exits leave before entries, and no instrument waits for another: see `send_queue.py`.
        """

    def stop(self, timeout: float) -> None:
        """Send what is queued, for at most `timeout` seconds; afterwards every id has had its result."""
