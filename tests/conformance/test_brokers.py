"""Every broker: at most once, one result per order, doubt where doubt is due, and nothing that blocks."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from conformance.benches import BROKER_BENCHES, SECONDS, BrokerBench

from lockstep.errors import LiveError
from lockstep.live.brokers.fills import Executions
from lockstep.live.brokers.protocol import BrokerDesk, BrokerSettings, Connection, Message, OutboundBroker
from lockstep.live.brokers.registry import BROKERS
from lockstep.live.messages import OrderIntent, ReportedFill, SendResult
from lockstep.live.netting import net_of
from lockstep.plugs import kind_of
from lockstep.secrets import Secrets
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
from support.toys.broker import ToyBrokerSettings, ToyOrders

SYMBOLS = ("ES", "NQ")
MARKETS = markets(*SYMBOLS)
SECRET = "s3cr3t-passw0rd"
REGISTERED: tuple[type[BrokerSettings], ...] = (*BROKERS.values(), ToyBrokerSettings)

every_broker = pytest.mark.parametrize("kind", list(map(kind_of, REGISTERED)))


class Results:
    """Collects what a broker says, in whatever thread it says it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.all: list[SendResult] = []

    def __call__(self, result: SendResult) -> None:
        with self._changed:
            self.all.append(result)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[SendResult]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.all) >= count, timeout=10)
            return list(self.all)


@dataclass
class Setting:
    """A broker of one kind, connected to a server that behaves as it is told."""

    server: FaultServer
    connection: Connection
    results: Results = field(default_factory=Results)

    @property
    def orders(self) -> OutboundBroker:
        return self.connection.orders

    def submit(self, order_id: str, symbol: str = "ES", *, opens: bool = True) -> Message:
        order = intent(symbol, order_id=order_id, opens=opens)
        message = self.orders.message(order)
        self.orders.submit(order, message)
        return message

    def arrived(self, *order_ids: str) -> Counter[str]:
        """Return how often each order arrived whole, wherever its message names the id."""
        found = [json.dumps(body) for _, body in self.server.requests]
        return Counter({each: sum(f'"{each}"' in text for text in found) for each in order_ids})


def bench_of(kind: str) -> BrokerBench:
    assert kind in BROKER_BENCHES, f"broker {kind}: the suite cannot meet it; add its bench to benches.py"
    return BROKER_BENCHES[kind]


def desk_of(url: str, folder: Path, *, live: bool = True) -> BrokerDesk:
    (folder / "url").write_text(url)
    (folder / "url").chmod(0o600)
    secrets = Secrets({})
    return BrokerDesk(markets=MARKETS, secret=secrets.read, scrub=secrets.scrub, live=live)


def reached(kind: str, folder: Path, url: str, *, live: bool = True) -> Connection:
    """Return a connection of one kind to a server."""
    return bench_of(kind).settings(SYMBOLS, folder / "url").connect(desk_of(url, folder, live=live))


@contextmanager
def connected(kind: str, folder: Path, *behaviours: Behaviour, **server: Any) -> Iterator[Setting]:
    """Run a broker in front of a server, from its start to its stop."""
    with FaultServer(*behaviours, **server) as faulty:
        setting = Setting(faulty, reached(kind, folder, faulty.url))
        setting.orders.start(setting.results)
        yield setting
        setting.orders.stop(5.0)


# What a server may do to a request, what the order is then, and how often it may arrive at most.
FATES: dict[str, tuple[Behaviour, str, int]] = {
    "400": (answer(400, {"success": False}), "rejected", 1),
    "403 cut short": (cut(403), "rejected", 1),
    "500": (answer(500), "unknown", 1),
    "503 with Retry-After": (answer(503, b"", {"Retry-After": "0"}), "unknown", 1),
    "a redirect": (answer(302, b"", {"Location": "/elsewhere"}), "unknown", 1),
    "a proxy's page": (answer(200, b"<html>Welcome</html>"), "unknown", 1),
    "half an answer": (cut(), "unknown", 1),
    "a broken chunk": (broken_chunks, "unknown", 1),
    "no HTTP": (garbage, "unknown", 1),
    "no answer": (hang, "unknown", 1),
    "dropped": (drop, "unknown", 1),
    "reset": (reset, "unknown", 1),
    "an answer a byte at a time": (ENDLESS["drip in the body"][0], "unknown", 1),
    "a head without end": (ENDLESS["headers without end"][0], "unknown", 1),
}


@every_broker
def test_an_accepted_order_is_acknowledged_and_sent_once(kind: str, tmp_path: Path) -> None:
    with connected(kind, tmp_path, answer(200, bench_of(kind).accepted)) as setting:
        setting.submit("id-1")
        (result,) = setting.results.wait_for(1)
    assert (result.order_id, result.outcome) == ("id-1", "acknowledged")
    assert setting.arrived("id-1") == {"id-1": 1}
    assert len(setting.results.all) == 1


@pytest.mark.parametrize("fate", FATES)
@every_broker
def test_what_a_server_does_decides_between_rejected_and_unknown(
    kind: str, fate: str, tmp_path: Path
) -> None:
    """A byte has left: without an answer of its kind nobody knows, and it is never sent again."""
    behaviour, outcome, most = FATES[fate]
    accepted = answer(200, bench_of(kind).accepted)
    began = time.monotonic()
    with connected(kind, tmp_path, behaviour, accepted) as setting:
        setting.submit("id-1")
        (result,) = setting.results.wait_for(1)
        took = time.monotonic() - began
        setting.submit("id-2")
        assert setting.results.wait_for(2)[1].outcome == "acknowledged", "the broker goes on"
    assert result.outcome == outcome
    assert setting.arrived("id-1", "id-2") == {"id-1": most, "id-2": 1}
    assert took < 4 * SECONDS
    assert setting.orders.faults == 0


@every_broker
def test_a_server_that_takes_no_connection_has_placed_nothing(kind: str, tmp_path: Path) -> None:
    with connected(kind, tmp_path, answer(), listening=False) as setting:
        setting.submit("id-1")
        (result,) = setting.results.wait_for(1)
    assert result.outcome == "rejected"
    assert setting.server.requests == []


@every_broker
def test_an_id_is_taken_once(kind: str, tmp_path: Path) -> None:
    with connected(kind, tmp_path, answer(200, bench_of(kind).accepted)) as setting:
        setting.submit("id-1")
        setting.results.wait_for(1)
        with pytest.raises(LiveError, match="id-1"):
            setting.submit("id-1")
    assert setting.arrived("id-1") == {"id-1": 1}


@every_broker
def test_nobody_waits_for_a_server_and_every_order_has_one_result_in_the_end(
    kind: str, tmp_path: Path
) -> None:
    with connected(kind, tmp_path, hang) as setting:
        began = time.monotonic()
        for number in range(3):
            setting.submit(f"id-{number}")
        setting.submit("other", "NQ")
        assert time.monotonic() - began < 0.2, "submit blocks"
        assert setting.orders.waiting == 4
        setting.server.wait_for(2)
        setting.orders.stop(0.05)
        outcomes = {each.order_id: each.outcome for each in setting.results.wait_for(4)}
        assert outcomes == {"id-0": "unknown", "id-1": "rejected", "id-2": "rejected", "other": "unknown"}
    assert len(setting.results.all) == 4, "an order has one result"
    assert setting.orders.waiting == 0


@every_broker
def test_an_exit_goes_first_and_withdraws_what_it_would_close(kind: str, tmp_path: Path) -> None:
    """The first entry is on its way; the second would open after the exit that closes the first."""
    gate = threading.Event()

    def waits(connection: Any, released: threading.Event) -> None:
        gate.wait(5)
        answer(200, bench_of(kind).accepted)(connection, released)

    with connected(kind, tmp_path, waits, answer(200, bench_of(kind).accepted)) as setting:
        setting.submit("first")
        setting.server.wait_for(1)
        setting.submit("second")
        setting.submit("leaves", opens=False)
        gate.set()
        found = {each.order_id: each.outcome for each in setting.results.wait_for(3)}
    assert found == {"first": "acknowledged", "second": "rejected", "leaves": "acknowledged"}
    assert setting.arrived("first", "second", "leaves") == {"first": 1, "second": 0, "leaves": 1}


@every_broker
def test_what_a_server_echoes_of_the_secret_is_cut_out(kind: str, tmp_path: Path) -> None:
    echo = answer(400, {"success": False, "id": SECRET, "message": f"no such hook: /hook/{SECRET}"})
    with connected(kind, tmp_path, echo) as setting:
        message = setting.submit("id-1")
        (result,) = setting.results.wait_for(1)
    assert SECRET not in result.detail
    assert SECRET not in json.dumps(dict(message))


@every_broker
def test_a_message_is_a_function_of_its_order(kind: str, tmp_path: Path) -> None:
    connection = reached(kind, tmp_path, "http://localhost/x", live=False)
    order = intent("ES", order_id="id-1")
    first, again = connection.orders.message(order), connection.orders.message(order)
    assert json.dumps(first, allow_nan=False) == json.dumps(again, allow_nan=False)
    assert "id-1" in json.dumps(dict(first))
    assert first != connection.orders.message(intent("ES", order_id="id-1", opens=False))


@every_broker
def test_net_orders_are_signed_or_not_taken(kind: str, tmp_path: Path) -> None:
    """What an ensemble sends may turn a position round; a broker says whether its messages can say that."""
    orders = reached(kind, tmp_path, "http://localhost/x", live=False).orders
    if not orders.takes_net:
        assert kind == "traderspost"
        return
    net = net_of([intent("ES#x", 5.0), intent("ES#y", -3.0, opens=False)], "net")
    written = [json.dumps(orders.message(replace(net, quantity=size))) for size in (2.0, -2.0)]
    assert written[0] != written[1]
    assert all("2.0" in each for each in written)


@every_broker
def test_shadow_needs_no_secret_and_what_cannot_be_traded_is_refused(kind: str, tmp_path: Path) -> None:
    settings = bench_of(kind).settings(SYMBOLS, tmp_path / "absent")
    desk = desk_of("http://localhost/x", tmp_path, live=False)
    orders = settings.connect(desk).orders
    orders.check(dict.fromkeys(SYMBOLS, True))
    with pytest.raises(LiveError, match="GC"):
        orders.check({"GC": True})
    with pytest.raises(LiveError, match="not started"):
        orders.submit(intent("ES"), orders.message(intent("ES")))


@every_broker
def test_a_live_connection_without_its_secret_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    settings = bench_of(kind).settings(SYMBOLS, tmp_path / "absent")
    with pytest.raises(LiveError) as refused:
        settings.connect(desk_of("http://localhost/x", tmp_path))
    assert "absent" in str(refused.value)
    assert "\n" not in str(refused.value)


# --- fills


@dataclass
class Ledger:
    """What the broker's server knows of executions; it is asked again and again."""

    told: Callable[[list[dict[str, Any]], dict[str, float]], dict[str, Any]]
    executions: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Behaviour] = field(default_factory=list)

    def choose(self, request: tuple[str, Any]) -> Behaviour:
        if self.faults:
            return self.faults.pop(0)
        return answer(200, self.told(self.executions, {"ES": 3.0}))

    def execute(self, fill_id: str, quantity: float, price: float, *, done: bool, order: str = "o-1") -> None:
        fill = ReportedFill(fill_id, order, "ES", "market", quantity, price, 1.25 * abs(quantity), 7)
        self.executions.append({**fill._asdict(), "done": done})


class Heard:
    """Collects fills from the threads of a source."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.all: list[ReportedFill] = []

    def __call__(self, fill: ReportedFill) -> None:
        with self._changed:
            self.all.append(fill)
            self._changed.notify_all()

    def wait_for(self, *fill_ids: str) -> list[ReportedFill]:
        def there() -> bool:
            return set(fill_ids) <= {each.fill_id for each in self.all}

        with self._changed:
            assert self._changed.wait_for(there, timeout=10), self.all
            return list(self.all)


reporting = pytest.mark.parametrize("kind", [kind_of(each) for each in REGISTERED if each.reports_fills])


@contextmanager
def reporting_server(
    kind: str, folder: Path, *faults: Behaviour
) -> Iterator[tuple[Ledger, Connection, Heard]]:
    told = bench_of(kind).told
    assert told is not None, f"broker {kind} reports fills; its bench must say how its server tells them"
    ledger = Ledger(told, faults=list(faults))
    with FaultServer(choose=ledger.choose) as server:
        connection = reached(kind, folder, server.url)
        assert connection.fills is not None
        yield ledger, connection, Heard()
        began = time.monotonic()
        connection.fills.stop()
        assert time.monotonic() - began < 5, "a source of fills stops within seconds"


@every_broker
def test_a_broker_brings_a_source_of_fills_where_it_says_so(kind: str, tmp_path: Path) -> None:
    settings = bench_of(kind).settings(SYMBOLS, tmp_path / "url")
    connection = settings.connect(desk_of("http://localhost/hook/s3cr3t-passw0rd", tmp_path))
    assert (connection.fills is not None) == settings.reports_fills


@reporting
def test_executions_in_parts_are_one_fill_when_the_order_is_done(kind: str, tmp_path: Path) -> None:
    with reporting_server(kind, tmp_path) as (ledger, connection, heard):
        ledger.execute("x-1", 1.0, 5_000.0, done=False)
        connection.fills.start(heard, since=0)
        time.sleep(0.1)
        assert heard.all == [], "a part is no fill"
        ledger.execute("x-2", 3.0, 5_001.0, done=True)
        while not heard.all:
            time.sleep(0.01)
    fill = heard.all[0]
    assert (fill.order_id, fill.quantity, fill.price, fill.commission) == ("o-1", 4.0, 5_000.75, 5.0)
    assert len({each for each in heard.all}) == 1, "the same fill is the same each time"


@pytest.mark.parametrize(
    "fault", [hang, drop, reset, garbage, answer(500), answer(200, b"[]"), answer(200, b"{")]
)
@reporting
def test_a_server_that_fails_is_asked_again_and_its_trouble_is_told(
    kind: str, fault: Behaviour, tmp_path: Path
) -> None:
    with reporting_server(kind, tmp_path, fault, fault) as (ledger, connection, heard):
        ledger.execute("x-1", 1.0, 5_000.0, done=True)
        connection.fills.start(heard, since=0)
        deadline = time.monotonic() + 5
        while not connection.fills.trouble:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        said = connection.fills.trouble
        while not heard.all or connection.fills.trouble:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert SECRET not in said
    assert "\n" not in said


@reporting
def test_a_second_connection_reports_everything_again_under_the_same_ids(kind: str, tmp_path: Path) -> None:
    """That is what a restart relies on: the engine may have died between the report and its journal."""
    with reporting_server(kind, tmp_path) as (ledger, connection, heard):
        ledger.execute("x-1", 2.0, 5_000.0, done=True)
        ledger.execute("x-2", -2.0, 5_010.0, done=True, order="o-2")
        connection.fills.start(heard, since=0)
        while len({each.fill_id for each in heard.all}) < 2:
            time.sleep(0.01)
        again = Heard()
        other = reached(kind, tmp_path, (tmp_path / "url").read_text())
        other.fills.start(again, since=0)
        again.wait_for(*{each.fill_id for each in heard.all})
        other.fills.stop()
    assert set(again.all) == set(heard.all)
    assert [each.order_id for each in again.all[:2]] == ["o-1", "o-2"], "the oldest first"


@reporting
def test_positions_are_read_without_waiting_for_a_server(kind: str, tmp_path: Path) -> None:
    with reporting_server(kind, tmp_path) as (ledger, connection, heard):
        if connection.positions is None:
            pytest.skip(f"broker {kind} tells no positions")
        connection.fills.start(heard, since=0)
        while not connection.positions.read(0):
            time.sleep(0.01)
        ledger.faults = [hang] * 100
        began = time.monotonic()
        assert connection.positions.read(0)["ES"].quantity == 3.0
        assert time.monotonic() - began < 0.1


# --- negative controls: faults that the very same tests must find


def _twice(self: ToyOrders, order_id: str, message: Message, stopping: threading.Event) -> SendResult:
    _DELIVER(self, order_id, message, stopping)
    return _DELIVER(self, order_id, message, stopping)


def _stubborn(self: ToyOrders, order_id: str, message: Message, stopping: threading.Event) -> SendResult:
    result = _DELIVER(self, order_id, message, stopping)
    return _DELIVER(self, order_id, message, stopping) if result.outcome == "unknown" else result


def _hopeful(self: ToyOrders, order_id: str, message: Message, stopping: threading.Event) -> SendResult:
    result = _DELIVER(self, order_id, message, stopping)
    return result._replace(outcome="rejected") if result.outcome == "unknown" else result


def _talkative(self: ToyOrders, order_id: str, message: Message, stopping: threading.Event) -> SendResult:
    self._scrub = str
    return _DELIVER(self, order_id, message, stopping)


def _blocking(self: ToyOrders, order: OrderIntent, message: Message) -> None:
    time.sleep(0.1)
    self._sender.submit(order, message)


_DELIVER = ToyOrders._deliver
PLANTED: dict[str, tuple[str, Callable[..., Any], Callable[[Path], None]]] = {
    "sends twice": (
        "_deliver",
        _twice,
        lambda folder: test_an_accepted_order_is_acknowledged_and_sent_once("toy", folder),
    ),
    "tries again what may have been placed": (
        "_deliver",
        _stubborn,
        lambda folder: test_what_a_server_does_decides_between_rejected_and_unknown("toy", "500", folder),
    ),
    "says rejected where nobody knows": (
        "_deliver",
        _hopeful,
        lambda folder: test_what_a_server_does_decides_between_rejected_and_unknown("toy", "reset", folder),
    ),
    "passes an echo on": (
        "_deliver",
        _talkative,
        lambda folder: test_what_a_server_echoes_of_the_secret_is_cut_out("toy", folder),
    ),
    "waits in submit": (
        "submit",
        _blocking,
        lambda folder: test_nobody_waits_for_a_server_and_every_order_has_one_result_in_the_end(
            "toy", folder
        ),
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_broker_that_breaks_its_word_is_caught(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, wrong, suite = PLANTED[fault]
    suite(tmp_path)
    monkeypatch.setattr(ToyOrders, method, wrong)
    with pytest.raises(AssertionError):
        suite(tmp_path)


def test_fills_that_are_executions_in_parts_are_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Executions, "add", lambda self, execution, done: execution)
    with pytest.raises(AssertionError, match="a part is no fill"):
        test_executions_in_parts_are_one_fill_when_the_order_is_done("toy", tmp_path)
