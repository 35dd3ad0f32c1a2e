"""`Sender`: threads that take messages to a broker, so that the engine never waits.

At most once: what may be tried again, and what an answer means for the order.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import tenacity

from lockstep.errors import LiveError
from lockstep.http_post import PostAttempt
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


_TOO_MANY = 429
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 10.0
_LONGEST_DETAIL = 200


class Patience(NamedTuple):
    """How often a message may be tried, and for how long: `seconds` is the total, waits included.

    connect_seconds, answer_seconds   of one attempt, see `post`
    """

    attempts: int
    seconds: float
    connect_seconds: float
    answer_seconds: float


def deliver(
    post_once: Callable[[float], PostAttempt],
    order_id: str,
    *,
    patience: Patience,
    stopping: threading.Event,
    scrub: Callable[[str], str],
) -> SendResult:
    """Post until it is known that something left, or patience ends; once only when `stopping` is set.

    Tried again only when no byte of the request left, or after a 429: both say that nothing was placed.
    Waits double from 0.25 s on; after a 429 the server's Retry-After counts, when patience covers it.

    post_once   is given the seconds it may take to connect: less for a late attempt, so that the answer,
                on which everything depends, never gets less than its own
    scrub       cuts secrets out of what the server says of itself, before anything else is cut off it
    """
    started = time.monotonic()
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_result(_placed_nothing),
        stop=tenacity.stop_any(
            tenacity.stop_after_attempt(patience.attempts),
            tenacity.stop_before_delay(patience.seconds - patience.answer_seconds),
            tenacity.stop_when_event_set(stopping),
        ),
        wait=_wait,
        sleep=tenacity.sleep_using_event(stopping),
        retry_error_callback=_last,
    )
    count = 0

    def attempt() -> PostAttempt:
        nonlocal count
        # The sleep before this attempt may have ended because of a stop.
        if count and stopping.is_set():
            return PostAttempt("not_sent", "stopped before another attempt")
        count += 1
        left = patience.seconds - patience.answer_seconds - (time.monotonic() - started)
        return post_once(min(patience.connect_seconds, max(left, 0.0)))

    return SendResult(order_id, *_outcome(retrying(attempt), scrub), count)


def _placed_nothing(attempt: PostAttempt) -> bool:
    return attempt.kind == "not_sent" or attempt.status == _TOO_MANY


def _last(state: tenacity.RetryCallState) -> PostAttempt:
    result: PostAttempt = state.outcome.result()  # type: ignore[union-attr]
    return result


def _wait(state: tenacity.RetryCallState) -> float:
    asked = _last(state).retry_after
    return min(_FIRST_WAIT * 2.0 ** (state.attempt_number - 1), _LONGEST_WAIT) if asked is None else asked


def _outcome(attempt: PostAttempt, scrub: Callable[[str], str]) -> tuple[Any, str]:
    """Return (outcome, detail). Success is 2xx with `"success": true`; a proxy's page is no success."""
    if attempt.kind == "not_sent":
        return "rejected", attempt.detail
    if attempt.kind == "unanswered":
        return "unknown", attempt.detail
    answer = _json_object(attempt.body)
    detail = f"{attempt.detail}{_words(answer, scrub)}"
    if 400 <= attempt.status < 500:
        return "rejected", detail
    if 200 <= attempt.status < 300 and answer.get("success") is True:
        return "acknowledged", detail
    return "unknown", detail


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _words(answer: dict[str, Any], scrub: Callable[[str], str]) -> str:
    """Return what the answer says of itself: on one line, short, and harmless where it is shown."""
    said = [_said(answer[key]) for key in ("id", "messageCode", "message") if key in answer]
    clean = "".join(each if each.isprintable() else " " for each in scrub(" ".join(said)))
    text = " ".join(clean.split())
    cut = text if len(text) <= _LONGEST_DETAIL else f"{text[:_LONGEST_DETAIL]} [cut]"
    return f": {cut}" if cut else ""


def _said(value: object) -> str:
    try:
        return str(value)
    except RecursionError:
        return "(nested too deeply)"
