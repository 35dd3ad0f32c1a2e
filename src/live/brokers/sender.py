"""`Sender`: a thread of its own that takes messages to a broker, so that the engine never waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from lockstep.errors import LiveError
from lockstep.live.brokers.protocol import Message, OnResult
from lockstep.live.messages import SendResult

Deliver = Callable[[str, Message, threading.Event], SendResult]


class Sender:
    """Delivers messages one after the other. Every submitted id gets one result, and only one.

    `deliver(order_id, message, stopping)` sends and returns the result; once `stopping` is set it tries
    no message a second time.
    """

    def __init__(self, deliver: Deliver, *, name: str, capacity: int) -> None:
        """Hold at most `capacity` messages that are not yet on their way."""
        self._deliver = deliver
        self._capacity = capacity
        self._thread = threading.Thread(target=self._run, name=f"{name}-sender", daemon=True)
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._queue: deque[tuple[str, Message]] = deque()
        self._open: set[str] = set()
        self._seen: set[str] = set()
        self._closed = True
        self._on_result: OnResult = _nobody

    def start(self, on_result: OnResult) -> None:
        """Begin delivering; results go to `on_result`, from the sender's thread or the caller's."""
        self._on_result, self._closed = on_result, False
        self._thread.start()

    def __len__(self) -> int:
        """Return how many messages wait or are on their way."""
        return len(self._open)

    def submit(self, order_id: str, message: Message) -> None:
        """Queue a message; where it cannot be taken, its result is `rejected`: nothing was sent.

        LiveError for an id that was submitted before.
        """
        with self._changed:
            if order_id in self._seen:
                raise LiveError(f"order {order_id}: was submitted before; an order is sent at most once")
            self._seen.add(order_id)
            self._open.add(order_id)
            refusal = self._cannot_take()
            if refusal is None:
                self._queue.append((order_id, message))
                self._changed.notify()
        if refusal is not None:
            self._finish(SendResult(order_id, "rejected", refusal, 0))

    def stop(self, timeout: float) -> None:
        """Go on for at most `timeout` seconds, then give the rest its results; safe to call twice.

        What is queued is still tried once. What never left is `rejected`; what is on its way without an
        answer is `unknown`.
        """
        self._stopping.set()
        with self._changed:
            never_started, self._closed = self._closed, True
            self._changed.notify()
        if never_started:
            return
        self._thread.join(timeout)
        with self._changed:
            waiting = [order_id for order_id, _ in self._queue]
            sending = sorted(self._open.difference(waiting))
            self._queue.clear()
        for order_id in waiting:
            self._finish(SendResult(order_id, "rejected", "stopped before it was sent", 0))
        for order_id in sending:
            self._finish(SendResult(order_id, "unknown", "stopped before the broker answered", 1))

    def _cannot_take(self) -> str | None:
        if self._closed or not self._thread.is_alive():
            return "the sender is not running"
        if len(self._queue) >= self._capacity:
            return f"{self._capacity} orders wait already"
        return None

    def _run(self) -> None:
        while (job := self._next()) is not None:
            result = SendResult(job[0], "unknown", "the sender broke down while sending", 1)
            try:
                result = self._deliver(*job, self._stopping)
            finally:
                self._finish(result)

    def _next(self) -> tuple[str, Message] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            return self._queue.popleft() if self._queue else None

    def _finish(self, result: SendResult) -> None:
        with self._changed:
            if result.order_id not in self._open:
                return
            self._open.remove(result.order_id)
        self._on_result(result)


def _nobody(result: SendResult) -> None:
    raise LiveError(f"order {result.order_id}: the sender was not started")
