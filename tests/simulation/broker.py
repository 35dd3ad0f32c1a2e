"""A broker with a webhook: slow, and not always truthful. Its answers are judged by the real delivery."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import SecretStr

from lockstep.errors import LiveError
from lockstep.http_post import PostAttempt
from lockstep.live.brokers.protocol import Message, OnResult
from lockstep.live.brokers.send_queue import Outgoing, SendQueue
from lockstep.live.brokers.sender import Patience, deliver
from lockstep.live.brokers.traderspost import TradersPost, TradersPostConfig
from lockstep.live.messages import OrderIntent, SendResult
from lockstep.market.history import Market

SECRET = "T0k3nOfTheDesk-6f1d2c"
URL = f"https://webhooks.example.com/trading/webhook/3f9a/{SECRET}"
"""The webhook: whatever a server echoes of it must be written down nowhere."""

_ONCE = Patience(1, 1.0, 0.5, 0.5)
_THREADS_WAKE = 0.001


class Conduct(NamedTuple):
    """How the broker deals with one order.

    answer   `yes`, `no`, `error` (500), `page` (a proxy's page), `silence`, `unreachable`
    after    seconds until the answer, or until it is clear that none comes
    placed   whether the order gets to the exchange, whatever the answer says
    share    of the quantity that the exchange fills
    echo     whether the answer quotes the address that was posted to
    turns    whether an exit is filled although a stop has closed the position before: it turns around
    """

    answer: str = "yes"
    after: float = 0.3
    placed: bool = True
    share: float = 1.0
    echo: bool = False
    turns: bool = False


class SimBroker:
    """TradersPost's messages, taken out of the real queue in simulated time: a sender per instrument.

    scrub     cuts secrets out of what the server says
    conduct   how to deal with the next order, by symbol and intent; place   brings it to the exchange
    left      is told of a message that begins to leave
    after     lets something happen some seconds later; wait   lets time pass until a condition holds
    """

    name = "traderspost"
    takes_net = False
    faults = 0

    def __init__(
        self,
        markets: Mapping[str, Market],
        *,
        scrub: Callable[[str], str],
        conduct: Callable[[str, str], Conduct],
        place: Callable[[str, Message, Conduct], None],
        left: Callable[[str], None],
        now: Callable[[], int],
        after: Callable[[float, Callable[[], object]], None],
        wait: Callable[[float, Callable[[], bool]], None],
    ) -> None:
        config = TradersPostConfig(tickers={symbol: symbol for symbol in markets})
        self._messages = TradersPost(config, SecretStr(URL), markets, scrub=scrub)
        self._queue = SendQueue(capacity=config.capacity, entry_seconds=config.entry_seconds)
        self._scrub = scrub
        self._conduct = conduct
        self._place = place
        self._left = left
        self._now = now
        self._after = after
        self._wait = wait
        self._on_result: OnResult = _nobody

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def check(self, protected: Mapping[str, bool]) -> None:
        self._messages.check(protected)

    def message(self, intent: OrderIntent) -> Message:
        return self._messages.message(intent)

    def start(self, on_result: OnResult) -> None:
        self._on_result = on_result

    def submit(self, intent: OrderIntent, message: Message) -> None:
        self._queue.offer(intent, message, self._seconds())
        self._after(_THREADS_WAKE, self._work)

    def stop(self, timeout: float) -> None:
        """Wait for answers, then give the rest their results."""
        self._work()
        self._wait(timeout, lambda: not len(self._queue))
        self._queue.close()
        self._tell()

    def _seconds(self) -> float:
        return self._now() / 1e9

    def _work(self) -> None:
        """Let every message leave that may, as the threads of the sender would."""
        while (outgoing := self._queue.next(self._seconds())) is not None:
            self._send(outgoing)
        self._tell()

    def _send(self, outgoing: Outgoing) -> None:
        order_id, message = outgoing.intent.order_id, outgoing.message
        symbol = outgoing.intent.symbol
        self._left(order_id)
        conduct = self._conduct(symbol, outgoing.intent.intent)
        if conduct.placed:
            self._place(symbol, message, conduct)
        self._after(conduct.after, lambda: self._answered(order_id, conduct))

    def _answered(self, order_id: str, conduct: Conduct) -> None:
        attempt = _attempt(order_id, conduct)
        self._queue.done(
            deliver(
                lambda connect_seconds: attempt,
                order_id,
                patience=_ONCE,
                stopping=threading.Event(),
                scrub=self._scrub,
            )
        )
        self._work()

    def _tell(self) -> None:
        for result in self._queue.results():
            self._on_result(result)


def _attempt(order_id: str, conduct: Conduct) -> PostAttempt:
    quoted = f"POST {URL} " if conduct.echo else ""
    if conduct.answer == "unreachable":
        return PostAttempt("not_sent", "no connection: ConnectionRefusedError (Connection refused)")
    if conduct.answer == "silence":
        return PostAttempt("unanswered", "sent, but no answer: TimeoutError (timed out)")
    status, body = _ANSWERS[conduct.answer]
    if "message" in body:
        body = {**body, "id": f"log-{order_id[-12:]}", "message": f"{quoted}{body['message']}"}
    text = json.dumps(body) if body else f"<html>{quoted}</html>"
    return PostAttempt("answered", f"status {status}", status, text.encode())


_ANSWERS: Mapping[str, tuple[int, dict[str, Any]]] = {
    "yes": (200, {"success": True, "message": "queued"}),
    "no": (400, {"success": False, "messageCode": "invalid-quantity", "message": "was not accepted"}),
    "error": (500, {"message": "internal error"}),
    "page": (200, {}),
}


def _nobody(result: SendResult) -> None:
    raise LiveError(f"order {result.order_id}: the broker was not started")
