"""Thousands of orders to a server and a network that fail in every way, by one seed.

`python tests/support/order_storm.py --orders 6000 --seed 1` prints what became of them, as JSON.
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import socket
import ssl
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lockstep.http_post import Endpoint, Lookups, PostAttempt, post
from lockstep.live.brokers.traderspost import TradersPost, TradersPostConfig
from lockstep.live.messages import OrderIntent, SendResult
from support.http_faults import (
    ENDLESS,
    Behaviour,
    FaultServer,
    answer,
    broken_chunks,
    cut,
    drop,
    garbage,
    hang,
    reset,
)
from support.orders import intent, markets

SYMBOLS = ("ES", "NQ", "CL", "GC", "SI", "6E", "ZC", "YM")
DEADLINE = 0.1  # seconds, of each half of an attempt

# What becomes of a request that has arrived. Only the first group says that nothing was placed.
REFUSALS: dict[str, Behaviour] = {
    "429": answer(429, b"", {"Retry-After": "0"}),
    "429 for an hour": answer(429, b"", {"Retry-After": "3600"}),
    "400": answer(400, {"success": False}),
    "403 cut short": cut(403),
}
DOUBTS: dict[str, Behaviour] = {
    "500": answer(500),
    "302": answer(302, b"", {"Location": "/again"}),
    "a page": answer(200, b"<html>"),
    "drop": drop,
    "reset": reset,
    "cut": cut(),
    "broken chunks": broken_chunks,
    "garbage": garbage,
    **{what: behaviour for what, (behaviour, _) in ENDLESS.items()},
}
# What becomes of a connection before a byte of the request has left.
OBSTACLES = ("refused", "deaf", "no name", "no handshake")


@dataclass
class Storm:
    """What was asked for and what happened. faults   how often each was met."""

    orders: int
    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "orders": self.orders,
            "faults": sum(self.faults.values()),
            "kinds of faults": len(self.faults),
            "outcomes": dict(self.outcomes),
            "wrong": self.wrong,
            "seconds": round(self.seconds, 1),
        }


class Weather:
    """Decides by seed, order and attempt what goes wrong, and remembers what arrived."""

    def __init__(self, seed: int, storm: Storm, ports: Mapping[str, int]) -> None:
        self._seed = seed
        self._storm = storm
        self._ports = ports
        self._lock = threading.Lock()
        self._never = Lookups(lambda *_, **__: threading.Event().wait() or [])
        self._tls = ssl.create_default_context()
        self._attempts: Counter[str] = Counter()
        self.arrived: defaultdict[str, list[str]] = defaultdict(list)

    def _random(self, order_id: str, what: str) -> random.Random:
        return random.Random(f"{self._seed} {order_id} {self._attempts[order_id]} {what}")

    def _met(self, fault: str) -> None:
        with self._lock:
            self._storm.faults[fault] += 1

    def post(self, to: Endpoint, body: bytes, headers: Mapping[str, str], **seconds: float) -> PostAttempt:
        """Post, or run into an obstacle first."""
        order_id = json.loads(body)["extras"]["orderId"]
        self._attempts[order_id] += 1
        chance = self._random(order_id, "network")
        if chance.random() < 0.7:
            return post(to, body, headers, **seconds)
        obstacle = chance.choice(OBSTACLES)
        self._met(obstacle)
        if obstacle == "no name":
            return post(to._replace(host="localhost"), body, headers, lookups=self._never, **seconds)
        tls = self._tls if obstacle == "no handshake" else None
        return post(to._replace(port=self._ports[obstacle], tls=tls), body, headers, **seconds)

    def choose(self, request: tuple[str, Any]) -> Behaviour:
        """Pick what the server does with a request."""
        order_id = request[1]["extras"]["orderId"]
        chance = self._random(order_id, "server")
        if chance.random() < 0.35:
            self.arrived[order_id].append("placed")
            return answer()
        kind, faults = chance.choice((("refused", REFUSALS), ("doubtful", DOUBTS)))
        what = chance.choice(sorted(faults))
        self._met(what)
        self.arrived[order_id].append("429" if what.startswith("429") else kind)
        return faults[what]


def storm(seed: int, orders: int) -> Storm:
    """Send `orders` orders of eight instruments, one of each at a time as an engine does, and judge."""
    found = Storm(orders)
    began = time.monotonic()
    with _ports() as ports:
        weather = Weather(seed, found, ports)
        with FaultServer(choose=weather.choose) as server:
            results = _sent(server, weather, [_order(number) for number in range(orders)])
    found.seconds = time.monotonic() - began
    found.outcomes.update(each.outcome for each in results)
    found.wrong += _judged(orders, results, weather.arrived)
    return found


@contextmanager
def _ports() -> Iterator[dict[str, int]]:
    """Ports that refuse, that never take a connection, and that never answer a handshake."""
    with ExitStack() as stack:
        refusing = stack.enter_context(socket.socket())
        refusing.bind(("127.0.0.1", 0))
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        silent = stack.enter_context(FaultServer(drop, greeting=hang))
        yield {
            "refused": refusing.getsockname()[1],
            "deaf": deaf.getsockname()[1],
            "no handshake": silent.port,
        }


def _order(number: int) -> OrderIntent:
    symbol = SYMBOLS[number % len(SYMBOLS)]
    return intent(symbol, order_id=f"{symbol}-{number}", opens=number // len(SYMBOLS) % 2 == 0)


def _sent(server: FaultServer, weather: Weather, orders: list[OrderIntent]) -> list[SendResult]:
    config = TradersPostConfig(
        tickers={symbol: symbol for symbol in SYMBOLS},
        connect_seconds=DEADLINE,
        answer_seconds=DEADLINE,
        attempts=3,
        patience_seconds=8 * DEADLINE,
    )
    broker = TradersPost(config, SecretStr(server.url), markets(*SYMBOLS), scrub=str, post=weather.post)
    come: queue.SimpleQueue[SendResult] = queue.SimpleQueue()
    waiting: dict[str, list[OrderIntent]] = {symbol: [] for symbol in SYMBOLS}
    for each in reversed(orders):
        waiting[each.symbol].append(each)
    broker.start(come.put)
    results: list[SendResult] = []
    for symbol in SYMBOLS:
        _submit_next(broker, waiting[symbol])
    while len(results) < len(orders):
        results.append(come.get(timeout=30.0))
        _submit_next(broker, waiting[results[-1].order_id.split("-")[0]])
    broker.stop(5.0)
    assert come.empty(), "a result too many"
    assert broker.faults == 0
    return results


def _submit_next(broker: TradersPost, waiting: list[OrderIntent]) -> None:
    if waiting:
        order = waiting.pop()
        broker.submit(order, broker.message(order))


def _judged(orders: int, results: list[SendResult], arrived: Mapping[str, list[str]]) -> list[str]:
    """Return what must not be: an order without its one result, sent twice, or told wrongly."""
    wrong = []
    counted = Counter(each.order_id for each in results)
    wrong += [f"{name}: {count} results" for name, count in counted.items() if count != 1]
    wrong += [f"{orders - len(counted)} orders lost"] if len(counted) != orders else []
    for result in results:
        lasting = [each for each in arrived.get(result.order_id, []) if each != "429"]
        if len(lasting) > 1:
            wrong.append(f"{result.order_id}: doubled, it arrived as {lasting}")
        allowed = {
            "acknowledged": lasting == ["placed"],
            "rejected": lasting in ([], ["refused"]),
            # Nothing at all where it was given up before the server had read it.
            "unknown": len(lasting) <= 1,
        }
        if not allowed[result.outcome]:
            wrong.append(f"{result.order_id}: {result.outcome}, but it arrived as {lasting}")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=6_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(json.dumps({"seed": arguments.seed, **storm(arguments.seed, arguments.orders).summary()}, indent=2))
