"""A broker with a webhook: slow, and not always truthful. Its answers are judged by the real delivery."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import SecretStr

from lockstep.errors import LiveError
from lockstep.live.brokers.delivery import Patience, deliver
from lockstep.live.brokers.http_post import Attempt
from lockstep.live.brokers.protocol import Message, OnResult
from lockstep.live.brokers.traderspost import TradersPost, TradersPostConfig
from lockstep.live.messages import OrderIntent, SendResult
from lockstep.market.history import Market

SECRET = "T0k3nOfTheDesk-6f1d2c"
URL = f"https://webhooks.example.com/trading/webhook/3f9a/{SECRET}"
"""The webhook: whatever a server echoes of it must be written down nowhere."""

_ONCE = Patience(1, 1.0)


class Conduct(NamedTuple):
    """How the broker deals with one order.

    answer   `yes`, `no`, `error` (500), `page` (a proxy's page), `silence`, `unreachable`
    after    seconds until the answer, or until it is clear that none comes
    placed   whether the order gets to the exchange, whatever the answer says
    share    of the quantity that the exchange fills
    echo     whether the answer quotes the address that was posted to
    """

    answer: str = "yes"
    after: float = 0.3
    placed: bool = True
    share: float = 1.0
    echo: bool = False


class SimBroker:
    """TradersPost's messages, sent in simulated time.

    conduct   how to deal with the next order of a symbol; place   brings an order to the exchange
    after     lets something happen some seconds later; wait   lets time pass until a condition holds
    """

    name = "traderspost"
    reports_fills = False

    def __init__(
        self,
        markets: Mapping[str, Market],
        conduct: Callable[[str], Conduct],
        place: Callable[[str, Message, float], None],
        after: Callable[[float, Callable[[], object]], None],
        wait: Callable[[float, Callable[[], bool]], None],
    ) -> None:
        config = TradersPostConfig(tickers={symbol: symbol for symbol in markets})
        self._messages = TradersPost(config, SecretStr(URL), markets)
        self._conduct = conduct
        self._place = place
        self._after = after
        self._wait = wait
        self._open: dict[str, tuple[Conduct, bool]] = {}
        self._seen: set[str] = set()
        self._on_result: OnResult = _nobody

    def check(self, protected: Mapping[str, bool]) -> None:
        self._messages.check(protected)

    def message(self, intent: OrderIntent) -> Message:
        return self._messages.message(intent)

    def start(self, on_result: OnResult) -> None:
        self._on_result = on_result

    def submit(self, order_id: str, message: Message) -> None:
        if order_id in self._seen:
            raise LiveError(f"order {order_id}: was submitted before; an order is sent at most once")
        self._seen.add(order_id)
        symbol = message["ticker"]
        conduct = self._conduct(symbol)
        self._open[order_id] = (conduct, False)
        if conduct.placed:
            self._place(symbol, message, conduct.share)
        self._after(conduct.after, lambda: self._answer(order_id, conduct))

    def stop(self, timeout: float) -> None:
        """Wait for answers, then give the rest their results."""
        self._wait(timeout, lambda: not self._open)
        for order_id in list(self._open):
            del self._open[order_id]
            self._on_result(SendResult(order_id, "unknown", "stopped before the broker answered", 1))

    def _answer(self, order_id: str, conduct: Conduct) -> None:
        if self._open.pop(order_id, None) is not None:
            attempt = _attempt(order_id, conduct)
            self._on_result(deliver(lambda: attempt, order_id, patience=_ONCE, stopping=threading.Event()))


def _attempt(order_id: str, conduct: Conduct) -> Attempt:
    quoted = f"POST {URL} " if conduct.echo else ""
    if conduct.answer == "unreachable":
        return Attempt("not_sent", "no connection: ConnectionRefusedError (Connection refused)")
    if conduct.answer == "silence":
        return Attempt("unanswered", "sent, but no answer: TimeoutError (timed out)")
    status, body = _ANSWERS[conduct.answer]
    if "message" in body:
        body = {**body, "id": f"log-{order_id[-12:]}", "message": f"{quoted}{body['message']}"}
    text = json.dumps(body) if body else f"<html>{quoted}</html>"
    return Attempt("answered", f"status {status}", status, text.encode())


_ANSWERS: Mapping[str, tuple[int, dict[str, Any]]] = {
    "yes": (200, {"success": True, "message": "queued"}),
    "no": (400, {"success": False, "messageCode": "invalid-quantity", "message": "was not accepted"}),
    "error": (500, {"message": "internal error"}),
    "page": (200, {}),
}


def _nobody(result: SendResult) -> None:
    raise LiveError(f"order {result.order_id}: the broker was not started")
