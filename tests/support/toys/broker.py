"""A broker with a small web API: it takes orders, and reports executions and positions when it is asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from lockstep.errors import ConfigError, LiveError
from lockstep.http_post import Endpoint, endpoint, post
from lockstep.live.brokers.fills import Executions, PolledFills
from lockstep.live.brokers.protocol import BrokerDesk, BrokerSettings, Connection, Holding, Message, OnResult
from lockstep.live.brokers.send_queue import SendQueue
from lockstep.live.brokers.sender import Patience, Sender, deliver
from lockstep.live.messages import OrderIntent, ReportedFill, SendResult
from lockstep.settings import parse_json


class ToyBrokerSettings(BrokerSettings):
    """`broker: {kind: toy, url_file: ..., accounts: {COMP: NQ-1}}` in live.yml."""

    kind: Literal["toy"] = "toy"
    reports_fills: ClassVar[bool] = True
    accounts: Mapping[str, str]
    url_file: Path | None = None
    seconds: float = 5.0
    every: float = 1.0

    def connect(self, desk: BrokerDesk) -> Connection:
        """See `BrokerSettings`."""
        if not desk.live:
            return Connection(ToyOrders(self, None, desk))
        url = desk.secret("toy broker", variable="TOY_BROKER_URL", file=self.url_file)
        to = endpoint(url, purpose="toy broker")
        account = ToyAccount(to, self.seconds)
        return Connection(
            orders=ToyOrders(self, to, desk),
            fills=PolledFills(account.fills, seconds=self.every),
            positions=account,
        )


class ToyOrders:
    """An `OutboundBroker`: the queue, the threads and the meaning of an answer are the library's."""

    name = "toy"
    takes_net = True

    def __init__(self, settings: ToyBrokerSettings, to: Endpoint | None, desk: BrokerDesk) -> None:
        self._settings, self._to, self._scrub = settings, to, desk.scrub
        queue = SendQueue(capacity=8, entry_seconds=30.0)
        self._sender = Sender(self._deliver, queue, name=self.name, workers=len(desk.markets))

    @property
    def waiting(self) -> int:
        """How many messages have no result yet."""
        return len(self._sender)

    @property
    def faults(self) -> int:
        """How many unexpected errors there were."""
        return self._sender.faults

    def check(self, protected: Mapping[str, bool]) -> None:
        """Refuse symbols without an account."""
        for symbol in protected:
            if symbol not in self._settings.accounts:
                raise LiveError(f"broker toy: no account for {symbol}; add it to accounts")

    def message(self, intent: OrderIntent) -> Message:
        """Return what is sent for an order."""
        account = self._settings.accounts[intent.symbol]
        order = {"id": intent.order_id, "quantity": intent.quantity, "closes": not intent.opens}
        return {"account": account, **order}

    def start(self, on_result: OnResult) -> None:
        """Begin sending."""
        self._sender.start(on_result)

    def submit(self, intent: OrderIntent, message: Message) -> None:
        """Queue an order."""
        self._sender.submit(intent, message)

    def stop(self, timeout: float) -> None:
        """Send what is queued, for at most `timeout` seconds."""
        self._sender.stop(timeout)

    def _deliver(self, order_id: str, message: Message, stopping: threading.Event) -> SendResult:
        half = self._settings.seconds / 2
        body = json.dumps(message, allow_nan=False).encode()
        return deliver(
            lambda connect: post(self._to, body, _JSON, connect_seconds=connect, answer_seconds=half),
            order_id,
            patience=Patience(3, self._settings.seconds, half, half),
            stopping=stopping,
            scrub=self._scrub,
        )


class ToyAccount:
    """What the broker tells when it is asked: executions, which add up to fills, and positions."""

    def __init__(self, to: Endpoint, seconds: float) -> None:
        self._to, self._half = to, seconds / 2
        self._holdings: dict[str, Holding] = {}
        self.trouble = ""

    def fills(self, since: int) -> list[ReportedFill]:
        """Return the whole fills since a moment; positions come with them. LiveError where nobody answers."""
        body = json.dumps({"executions since": since}).encode()
        attempt = post(self._to, body, _JSON, connect_seconds=self._half, answer_seconds=self._half)
        if attempt.status != 200:
            raise LiveError(f"broker toy: executions: {attempt.detail}")
        try:
            told = parse_json(attempt.body)
            found, parts = [], Executions()
            for each in told["executions"]:
                execution = ReportedFill(*(each[name] for name in ReportedFill._fields))
                found.append(parts.add(execution, done=each["done"]))
            now = time.time_ns()
            self._holdings = {
                symbol: Holding(float(held), now, "toy broker") for symbol, held in told["positions"].items()
            }
        except (LookupError, TypeError, ValueError, AttributeError, ConfigError) as error:
            raise LiveError(f"broker toy: no such answer: {type(error).__name__}") from error
        return [fill for fill in found if fill is not None]

    def read(self, now: int) -> Mapping[str, Holding]:
        """Return the positions of the newest answer: the engine's thread never waits for one."""
        return self._holdings


_JSON = {"Content-Type": "application/json"}
