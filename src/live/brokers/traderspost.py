"""TradersPost: orders as webhook messages.

Fields as in TradersPost's webhook reference. Its subscription has to be told to use the signal's quantity,
order type, time in force, stop loss and take profit; otherwise it ignores them. See docs/gateway.md.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from lockstep.errors import LiveError
from lockstep.http_post import Post, PostAttempt, endpoint, post
from lockstep.live.brokers.protocol import BrokerDesk, BrokerSettings, Connection, Message, OnResult
from lockstep.live.brokers.send_queue import SendQueue
from lockstep.live.brokers.sender import Patience, Sender, deliver
from lockstep.live.messages import OrderIntent, SendResult
from lockstep.market.history import Market
from lockstep.strategy.matching import STOP_FRACTION, STOP_POINTS, TARGET_FRACTION, TARGET_POINTS, on_grid

Seconds = Annotated[float, Field(gt=0, le=3_600, allow_inf_nan=False)]
Ticker = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,64}$")]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=8)]
_NOWHERE = SecretStr("http://localhost/shadow")
TimeInForce = Literal["day", "gtc", "gtd", "opg", "cls", "ioc", "fok"]


class TradersPostConfig(BrokerSettings):
    """How to reach TradersPost.

    tickers             its ticker of each symbol: the contract that trades, `MESZ2026`, not a root
    url_variable        environment variable with the webhook's URL; url_file   a file with it, preferred
    time_in_force       `gtc`: the stop that is attached to an entry must outlive the day
    allow_unprotected   reason why entries without a stop may be sent, or None: they are refused
    connect_seconds     for name lookup, connection and TLS handshake of an attempt, all together
    answer_seconds      for sending a message and reading the whole answer
    attempts, patience_seconds   of a message, all together: it is tried again only when nothing was sent, or
                        after a 429
    entry_seconds       an entry that could not leave for so long, because its instrument's last message is on
                        its way, is not sent any more; capacity   entries that may wait
    """

    kind: Literal["traderspost"] = "traderspost"
    tickers: Mapping[str, Ticker]
    url_variable: str = "TRADERSPOST_WEBHOOK_URL"
    url_file: Path | None = None
    time_in_force: TimeInForce = "gtc"
    allow_unprotected: Reason | None = None
    connect_seconds: Seconds = 5.0
    answer_seconds: Seconds = 15.0
    attempts: Annotated[int, Field(ge=1, le=20)] = 5
    patience_seconds: Seconds = 30.0
    entry_seconds: Seconds = 30.0
    capacity: Annotated[int, Field(ge=1)] = 64

    @model_validator(mode="after")
    def _patient_enough(self) -> Self:
        once = self.connect_seconds + self.answer_seconds
        if self.patience_seconds < once:
            raise ValueError(f"is less than one attempt may take ({once:g} s); give at least that")
        return self

    def connect(self, desk: BrokerDesk) -> Connection:
        """See `BrokerSettings`."""
        url = _NOWHERE
        if desk.live:
            url = desk.secret("TradersPost webhook", variable=self.url_variable, file=self.url_file)
        return Connection(TradersPost(self, url, desk.markets, scrub=desk.scrub))


class TradersPost:
    """Sends orders to one webhook. It reports no fills."""

    name = "traderspost"
    # Its signals open, add to or leave a position; none goes from one side to the other.
    takes_net = False

    def __init__(
        self,
        config: TradersPostConfig,
        url: SecretStr,
        markets: Mapping[str, Market],
        *,
        scrub: Callable[[str], str],
        post: Post = post,
    ) -> None:
        """Take the webhook's URL apart; ConfigError where it is no https URL (http to this machine only).

        markets   of the traded instruments: each gets a thread of its own
        scrub     cuts secrets out of what the server says
        """
        self._config = config
        self._scrub = scrub
        self._post = post
        self._endpoint = endpoint(url, purpose="TradersPost webhook")
        self._ticks = {symbol: market.instrument.tick_size for symbol, market in markets.items()}
        queue = SendQueue(capacity=config.capacity, entry_seconds=config.entry_seconds)
        self._sender = Sender(self._deliver, queue, name=self.name, workers=len(markets))

    def check(self, protected: Mapping[str, bool]) -> None:
        """Refuse symbols without a ticker or, unless it is allowed, entries without a stop."""
        for symbol, has_stop in protected.items():
            if symbol not in self._config.tickers:
                raise LiveError(f"traderspost.tickers: no ticker of {symbol}; add the contract that trades")
            self._require_stop(symbol, has_stop)

    def message(self, intent: OrderIntent) -> Message:
        """Return the webhook message of an order.

        Entries say `buy` or `sell` with order type, stop and target; exits say `exit`, since `buy` and
        `sell` may reverse a position. The price goes into `signalPrice`: a bare `price` may make a limit
        order of it.
        """
        message = {
            "ticker": self._config.tickers[intent.symbol],
            "action": _action(intent),
            "orderType": "market",
            "quantityType": "fixed_quantity",
            "quantity": _number(abs(intent.quantity)),
            "signalPrice": intent.reference,
            "timeInForce": self._config.time_in_force,
            "extras": _metadata(intent),
        }
        return {**message, **self._protection(intent)} if intent.opens else message

    def start(self, on_result: OnResult) -> None:
        """Begin sending."""
        self._sender.start(on_result)

    def submit(self, intent: OrderIntent, message: Message) -> None:
        """Queue the message of an order for the sender's threads."""
        self._sender.submit(intent, message)

    def stop(self, timeout: float) -> None:
        """Send what is queued, for at most `timeout` seconds."""
        self._sender.stop(timeout)

    @property
    def waiting(self) -> int:
        """How many messages wait or are on their way."""
        return len(self._sender)

    @property
    def faults(self) -> int:
        """How many unexpected errors the sender survived."""
        return self._sender.faults

    def _require_stop(self, symbol: str, has_stop: bool) -> None:
        if not has_stop and self._config.allow_unprotected is None:
            raise LiveError(
                f"{symbol}: entries have no stop; give the strategy one, or allow_unprotected a reason"
            )

    def _protection(self, intent: OrderIntent) -> dict[str, Any]:
        tick, terms = self._ticks[intent.symbol], intent.terms
        stop = _distance(terms[STOP_FRACTION], terms[STOP_POINTS], intent.reference, tick)
        target = _distance(terms[TARGET_FRACTION], terms[TARGET_POINTS], intent.reference, tick)
        self._require_stop(intent.symbol, stop is not None)
        parts = {"stopLoss": {"type": "stop", **stop} if stop else None, "takeProfit": target}
        return {name: part for name, part in parts.items() if part}

    def _deliver(self, order_id: str, message: Message, stopping: threading.Event) -> SendResult:
        config = self._config
        body = json.dumps(message, allow_nan=False).encode()

        def post_once(connect_seconds: float) -> PostAttempt:
            return self._post(
                self._endpoint,
                body,
                {"Content-Type": "application/json"},
                connect_seconds=connect_seconds,
                answer_seconds=config.answer_seconds,
            )

        patience = Patience(
            config.attempts, config.patience_seconds, config.connect_seconds, config.answer_seconds
        )
        return deliver(post_once, order_id, patience=patience, stopping=stopping, scrub=self._scrub)


def _action(intent: OrderIntent) -> str:
    if not intent.opens:
        return "exit"
    return "buy" if intent.quantity > 0.0 else "sell"


def _metadata(intent: OrderIntent) -> dict[str, Any]:
    known = not math.isnan(intent.probability)
    return {
        "orderId": intent.order_id,
        "version": intent.version,
        "reason": intent.reason,
        "decision": intent.decision,
        "probability": intent.probability if known else None,
    }


def _number(contracts: float) -> int | float:
    return int(contracts) if contracts.is_integer() else contracts


def _distance(fraction: float, points: float, reference: float, tick: float) -> dict[str, float] | None:
    """Return the distance of a protective order from the fill, or None for none.

    A distance in points is rounded up to the tick, as `matching.execute` rounds the level against us.
    """
    if math.isnan(fraction):
        return None
    if points == 0.0:
        return {"percent": round(fraction * 100.0, 10)}
    return {"amount": on_grid(fraction * abs(reference) + points, tick, 1.0)}
