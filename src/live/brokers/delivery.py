"""At most once: what may be tried again, and what an answer means for the order."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import tenacity

from lockstep.http_post import Attempt
from lockstep.live.messages import SendResult

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
    post_once: Callable[[float], Attempt],
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

    def attempt() -> Attempt:
        nonlocal count
        # The sleep before this attempt may have ended because of a stop.
        if count and stopping.is_set():
            return Attempt("not_sent", "stopped before another attempt")
        count += 1
        left = patience.seconds - patience.answer_seconds - (time.monotonic() - started)
        return post_once(min(patience.connect_seconds, max(left, 0.0)))

    return SendResult(order_id, *_outcome(retrying(attempt), scrub), count)


def _placed_nothing(attempt: Attempt) -> bool:
    return attempt.kind == "not_sent" or attempt.status == _TOO_MANY


def _last(state: tenacity.RetryCallState) -> Attempt:
    result: Attempt = state.outcome.result()  # type: ignore[union-attr]
    return result


def _wait(state: tenacity.RetryCallState) -> float:
    asked = _last(state).retry_after
    return min(_FIRST_WAIT * 2.0 ** (state.attempt_number - 1), _LONGEST_WAIT) if asked is None else asked


def _outcome(attempt: Attempt, scrub: Callable[[str], str]) -> tuple[Any, str]:
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
