"""`Sender`: threads that take messages to a broker, so that the engine never waits."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from lockstep.errors import LiveError
from lockstep.live.brokers.protocol import Message, OnResult
from lockstep.live.brokers.send_queue import Outgoing, SendQueue
from lockstep.live.messages import OrderIntent, SendResult

_LOGGER = logging.getLogger("lockstep.live")
_BREATH = 0.1  # seconds after an error between two messages

Deliver = Callable[[str, Message, threading.Event], SendResult]


class Sender:
    """Carries out a `SendQueue`. Every submitted id gets one result, and only one.

    `deliver(order_id, message, stopping)` sends and returns the result; once `stopping` is set it tries
    no message a second time. Whatever it raises makes the result `unknown`, and the thread goes on.
    """

    def __init__(self, deliver: Deliver, queue: SendQueue, *, name: str, workers: int) -> None:
        """Send by `workers` threads. One per instrument: then none ever waits for another's."""
        self._deliver = deliver
        self._queue = queue
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-sender-{number}", daemon=True)
            for number in range(workers)
        ]
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._on_result: OnResult | None = None
        self.faults = 0

    def start(self, on_result: OnResult) -> None:
        """Begin delivering; results go to `on_result`, from a thread of the sender or the caller's."""
        self._on_result = on_result
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        """Return how many messages wait or are on their way."""
        with self._changed:
            return len(self._queue)

    def submit(self, intent: OrderIntent, message: Message) -> None:
        """Queue a message; where it cannot be taken, its result is `rejected`: nothing was sent.

        LiveError for an id that was submitted before, and before `start`.
        """
        if self._on_result is None:
            raise LiveError(f"order {intent.order_id}: the sender was not started")
        with self._changed:
            self._queue.offer(intent, message, time.monotonic())
            results = self._queue.results()
            self._changed.notify()
        self._tell(results)

    def stop(self, timeout: float) -> None:
        """Go on for at most `timeout` seconds, then give the rest its results; safe to call twice.

        What is queued is still tried once. What never left is `rejected`; what is on its way without an
        answer is `unknown`.
        """
        end = time.monotonic() + timeout
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))
        with self._changed:
            self._queue.close()
            results = self._queue.results()
        self._tell(results)

    def _run(self) -> None:
        """Work until stopped: an error of any kind costs a message, never the thread."""
        while True:
            try:
                task = self._take()
                if task is None:
                    return
                outgoing, results = task
                self._tell(results)
                if outgoing is not None:
                    self._send(outgoing)
            except BaseException:
                self._fault("between two messages")
                self._stopping.wait(_BREATH)

    def _take(self) -> tuple[Outgoing | None, list[SendResult]] | None:
        """Wait for a message to send or results to pass on; None when stopping and nothing waits."""
        with self._changed:
            while True:
                outgoing, results = self._queue.next(time.monotonic()), self._queue.results()
                if outgoing is not None or results:
                    return outgoing, results
                if self._stopping.is_set() and not self._queue.waiting:
                    return None
                self._changed.wait()

    def _send(self, outgoing: Outgoing) -> None:
        order_id = outgoing.intent.order_id
        try:
            result = self._deliver(order_id, outgoing.message, self._stopping)._replace(order_id=order_id)
        except BaseException as error:
            self._fault(f"sending {order_id}")
            why = f"the sender broke down while sending: {type(error).__name__}"
            result = SendResult(order_id, "unknown", why, 1)
        with self._changed:
            self._queue.done(result)
            results = self._queue.results()
            self._changed.notify_all()
        self._tell(results)

    def _tell(self, results: Iterable[SendResult]) -> None:
        for result in results:
            try:
                if self._on_result is not None:
                    self._on_result(result)
            except BaseException:
                self._fault(f"passing on the result of {result.order_id}")

    def _fault(self, where: str) -> None:
        with self._changed:
            self.faults += 1
        _LOGGER.exception("sender: unexpected error, %s", where)
