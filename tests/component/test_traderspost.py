"""Orders to a real HTTP server on loopback: what is sent, how often, and what is made of the answer."""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from lockstep.errors import ConfigError, LiveError
from lockstep.http_post import PostAttempt, endpoint, post
from lockstep.live.brokers.protocol import ShadowBroker
from lockstep.live.brokers.sender import Patience, deliver
from lockstep.live.brokers.traderspost import TradersPost, TradersPostConfig
from lockstep.live.messages import SendResult
from lockstep.secrets import Secrets
from lockstep.settings import validated
from lockstep.strategy.matching import execute, opening_account
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
from support.orders import NONE, intent, markets

MARKETS = markets("ES", "NQ")
CONFIG = TradersPostConfig(
    tickers={"ES": "MESM2024", "NQ": "MNQM2024"},
    connect_seconds=2,
    answer_seconds=2,
    attempts=3,
    patience_seconds=5,
)
ELSEWHERE = SecretStr("https://example.com/hook/s3cr3t-passw0rd")
SECRET = "s3cr3t-passw0rd"


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
            return self.all


def broker_at(server: FaultServer, **changes: Any) -> TradersPost:
    secrets = Secrets({})
    secrets.add("hook", SecretStr(server.url))
    config = CONFIG.model_copy(update=changes)
    return TradersPost(config, SecretStr(server.url), MARKETS, scrub=secrets.scrub)


def submit(broker: TradersPost, order_id: str, symbol: str = "ES", *, opens: bool = True) -> None:
    order = intent(symbol, order_id=order_id, opens=opens)
    broker.submit(order, broker.message(order))


def send(server: FaultServer, **changes: Any) -> SendResult:
    """Send one entry and return its result; there is exactly one."""
    broker, results = broker_at(server, **changes), Results()
    broker.start(results)
    submit(broker, "id-1")
    results.wait_for(1)
    broker.stop(5.0)
    (result,) = results.all
    assert result.order_id == "id-1"
    return result


def ids(server: FaultServer) -> list[str]:
    return [body["extras"]["orderId"] for _, body in server.requests]


# What the server does, what that means, and which requests arrive.
FATES: dict[str, tuple[tuple[Behaviour, ...], dict[str, Any], str, int]] = {
    "success": ((answer(),), {}, "acknowledged", 1),
    "400": ((answer(400, {"success": False, "messageCode": "invalid-action"}),), {}, "rejected", 1),
    "404 with a page": ((answer(404, b"<html>"),), {}, "rejected", 1),
    "4xx without its body": ((cut(403),), {}, "rejected", 1),
    "500 then 200": ((answer(500), answer()), {}, "unknown", 1),
    "503 with Retry-After": ((answer(503, b"", {"Retry-After": "0"}), answer()), {}, "unknown", 1),
    "redirect": ((answer(302, b"", {"Location": "/elsewhere"}), answer()), {}, "unknown", 1),
    "429 then 200": ((answer(429, b"", {"Retry-After": "0"}), answer()), {}, "acknowledged", 2),
    "429 for ever": ((answer(429, b"", {"Retry-After": "0"}),), {}, "rejected", 3),
    "429 for longer than patience": ((answer(429, b"", {"Retry-After": "60"}), answer()), {}, "rejected", 1),
    "429 then 500": ((answer(429, b"", {"Retry-After": "0"}), answer(500)), {}, "unknown", 2),
    **{what: ((each,), {"answer_seconds": 0.1}, "unknown", 1) for what, (each, _) in ENDLESS.items()},
    "drop after reading": ((drop, answer()), {}, "unknown", 1),
    "reset after reading": ((reset, answer()), {}, "unknown", 1),
    "drop before the body": ((cut(), answer()), {}, "unknown", 1),
    "drop within a chunk": ((broken_chunks, answer()), {}, "unknown", 1),
    "no HTTP": ((garbage, answer()), {}, "unknown", 1),
    "200 with garbage": ((answer(200, b"\x00\xff"), answer()), {}, "unknown", 1),
    "200 with a page": ((answer(200, b"<html>Welcome</html>"), answer()), {}, "unknown", 1),
    "200 that is no object": ((answer(200, ["success"]), answer()), {}, "unknown", 1),
    "200 nested without end": ((answer(200, b"[" * 60_000), answer()), {}, "unknown", 1),
    "200 without success": ((answer(200, {"success": False}), answer()), {}, "unknown", 1),
    "200 too long": ((answer(200, b'{"success": true}' + b" " * 70_000), answer()), {}, "unknown", 1),
}


@pytest.mark.parametrize("fate", list(FATES))
def test_each_fate_of_a_message(fate: str) -> None:
    behaviours, changes, outcome, requests = FATES[fate]
    with FaultServer(*behaviours) as server:
        result = send(server, **changes)
    assert (result.outcome, result.attempts) == (outcome, requests)
    assert ids(server) == ["id-1"] * requests
    assert SECRET not in result.detail


def test_the_broker_says_why() -> None:
    told = {"success": False, "messageCode": "invalid-action", "message": "Invalid\naction " + "x" * 500}
    with FaultServer(answer(400, told)) as server:
        detail = send(server).detail
    assert detail.startswith("status 400: invalid-action Invalid action")
    assert detail.endswith("x [cut]")
    assert len(detail) < 250


@pytest.mark.parametrize(
    "message", ["\x1b[2Jgone", "a\u202eb", "\ud800", ["nested", {"so": "so"}], {"x": None}, 10**400, True]
)
def test_whatever_the_broker_says_is_one_printable_line(message: object) -> None:
    with FaultServer(answer(400, {"message": message})) as server:
        detail = send(server).detail
    assert detail.startswith("status 400")
    assert detail.isprintable()
    assert detail.encode()


def test_an_echo_is_scrubbed_before_it_is_cut() -> None:
    """The cut at 200 characters would leave the head of a secret, which nobody would find any more."""
    for before in (150, 190, 195):
        with FaultServer(answer(400, {"message": "x" * before + SECRET})) as server:
            detail = send(server).detail
        assert "s3cr3t" not in detail


def test_settings_that_would_fail_in_a_thread_are_refused_at_the_start() -> None:
    for values, fault in {
        "tickers": ({"tickers": {"ES": "MES\u0405"}}, "tickers.ES"),
        "a space": ({"tickers": {"ES": "MES Z6"}}, "tickers.ES"),
        "too long": ({"tickers": {}, "answer_seconds": 1e12}, "answer_seconds"),
        "no number": ({"tickers": {}, "connect_seconds": float("nan")}, "connect_seconds"),
        "one attempt": ({"tickers": {}, "patience_seconds": 19.0}, "less than one attempt may take"),
    }.values():
        with pytest.raises(ConfigError, match=fault) as refused:
            validated(TradersPostConfig, values, where="live.yml")
        assert len(str(refused.value).splitlines()) == 1


def test_a_refused_connection_is_tried_again_and_then_given_up() -> None:
    with FaultServer(answer(), listening=False) as server:
        result = send(server, attempts=2)
    assert (result.outcome, result.attempts) == ("rejected", 2)
    assert "no connection: ConnectionRefusedError" in result.detail
    assert server.requests == []


def test_what_was_refused_and_then_taken_arrives_once() -> None:
    with FaultServer(answer(), listening=False) as server:
        to, seen = endpoint(SecretStr(server.url), purpose="hook"), []

        def post_once(seconds: float) -> PostAttempt:
            seen.append(post(to, b"{}", {}, connect_seconds=seconds, answer_seconds=2))
            if len(seen) == 1:
                server.listen()
            return seen[-1]

        result = deliver(post_once, "id-1", patience=patience(5.0), stopping=threading.Event(), scrub=str)
    assert [attempt.kind for attempt in seen] == ["not_sent", "answered"]
    assert (result.outcome, result.attempts, len(server.requests)) == ("acknowledged", 2, 1)


def patience(seconds: float, attempts: int = 3) -> Patience:
    return Patience(attempts, seconds, connect_seconds=2.0, answer_seconds=2.0)


class _Impatient(threading.Event):
    """An event on which waiting takes no time; keeps how long it was asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.is_set()


def test_waits_double_and_a_server_may_ask_for_its_own() -> None:
    attempts = iter([
        PostAttempt("not_sent", ""),
        PostAttempt("not_sent", ""),
        PostAttempt("answered", "", 429, retry_after=7.0),
        PostAttempt("answered", "", 429),
        PostAttempt("answered", "", 200, b'{"success": true}'),
    ])  # fmt: skip
    stopping = _Impatient()
    result = deliver(
        lambda _: next(attempts), "id-1", patience=patience(60.0, 9), stopping=stopping, scrub=str
    )
    assert stopping.waits == [0.25, 0.5, 7.0, 2.0]
    assert (result.outcome, result.attempts) == ("acknowledged", 5)


def test_once_stopping_a_message_is_tried_once() -> None:
    stopping = threading.Event()
    stopping.set()
    tried: list[PostAttempt] = []

    def post_once(seconds: float) -> PostAttempt:
        tried.append(PostAttempt("not_sent", "no connection"))
        return tried[-1]

    result = deliver(post_once, "id-1", patience=patience(9.0), stopping=stopping, scrub=str)
    assert (result.outcome, result.attempts, len(tried)) == ("rejected", 1, 1)


def test_a_stop_during_the_wait_is_no_reason_to_post() -> None:
    class StoppedInTheWait(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            self.set()
            return True

    once = PostAttempt("answered", "", 429, retry_after=1.0)
    stopping = StoppedInTheWait()
    result = deliver(lambda _: once, "id-1", patience=patience(9.0), stopping=stopping, scrub=str)
    assert (result.outcome, result.detail) == ("rejected", "stopped before another attempt")
    assert result.attempts == 1


# --- many orders --------------------------------------------------------------------------------------


def test_orders_of_an_instrument_arrive_in_their_order_and_submitting_never_waits() -> None:
    with FaultServer(answer()) as server:
        broker, results = broker_at(server), Results()
        broker.start(results)
        names = [f"id-{i}" for i in range(20)]
        for name in names:
            submit(broker, name)
        broker.stop(10.0)
    assert ids(server) == names
    assert [result.order_id for result in results.all] == names
    assert (broker.waiting, broker.faults) == (0, 0)


@pytest.mark.parametrize("what", ["no answer", "drip in the status line", "100 Continue a byte at a time"])
def test_an_exit_does_not_wait_for_another_instrument(what: str) -> None:
    """An exit was stuck behind an answer that dripped for 40 s."""
    stuck, _ = ENDLESS[what]
    with FaultServer(stuck, answer()) as server:
        broker, results = broker_at(server, answer_seconds=1.5), Results()
        broker.start(results)
        submit(broker, "slow", "NQ")
        server.wait_for(1)
        began = time.monotonic()
        submit(broker, "exit", "ES", opens=False)
        assert results.wait_for(1)[0].order_id == "exit"
        assert time.monotonic() - began < 1.0
        broker.stop(5.0)
    assert {result.order_id: result.outcome for result in results.all} == {
        "exit": "acknowledged",
        "slow": "unknown",
    }


def test_all_attempts_together_end_when_patience_does() -> None:
    """A server that resets each handshake late: no attempt may begin with less than a whole answer's time."""
    began = time.monotonic()
    with FaultServer(answer(), greeting=hang) as server:
        to = endpoint(SecretStr(server.url.replace("http:", "https:")), purpose="hook")
        granted: list[float] = []

        def post_once(seconds: float) -> PostAttempt:
            granted.append(seconds)
            return post(to, b"{}", {}, connect_seconds=seconds, answer_seconds=0.2)

        result = deliver(
            post_once, "id-1", patience=Patience(20, 1.0, 0.2, 0.2), stopping=threading.Event(), scrub=str
        )
    assert (result.outcome, result.attempts) == ("rejected", len(granted))
    assert len(granted) == 2
    assert time.monotonic() - began < 1.5


def test_an_id_is_taken_once() -> None:
    with FaultServer(answer()) as server:
        broker, results = broker_at(server), Results()
        broker.start(results)
        submit(broker, "id-1")
        with pytest.raises(LiveError, match="at most once"):
            submit(broker, "id-1")
        broker.stop(10.0)
    assert ids(server) == ["id-1"]
    assert len(results.all) == 1


def test_only_the_id_tells_one_order_from_two() -> None:
    """The mutant of PARITY 18: with ids made anew, a repeated order is sent again."""
    with FaultServer(answer()) as server:
        broker, results = broker_at(server), Results()
        broker.start(results)
        for made_anew in ("7f3a", "c01d"):
            submit(broker, made_anew)
        broker.stop(10.0)
    assert ids(server) == ["7f3a", "c01d"]


def test_stopping_ends_the_wait_for_another_attempt() -> None:
    with FaultServer(answer(429, b"", {"Retry-After": "60"})) as server:
        broker, results = broker_at(server, patience_seconds=1000), Results()
        broker.start(results)
        submit(broker, "id-1")
        server.wait_for(1)
        broker.stop(30.0)
    assert [result.outcome for result in results.all] == ["rejected"]
    assert ids(server) == ["id-1"]


# --- the message --------------------------------------------------------------------------------------


def broker() -> TradersPost:
    return TradersPost(CONFIG, ELSEWHERE, MARKETS, scrub=str)


def test_an_entry_carries_type_stop_and_target() -> None:
    order = intent(quantity=2.0)
    assert broker().message(order) == {
        "ticker": "MESM2024",
        "action": "buy",
        "orderType": "market",
        "quantityType": "fixed_quantity",
        "quantity": 2,
        "signalPrice": 5000.0,
        "timeInForce": "gtc",
        "stopLoss": {"type": "stop", "percent": 1.0},
        "takeProfit": {"amount": 20.0},
        "extras": {
            "orderId": order.order_id,
            "version": "v3",
            "reason": "enter long",
            "decision": order.decision,
            "probability": 0.62,
        },
    }
    assert broker().message(intent(quantity=-2.5))["action"] == "sell"
    assert broker().message(intent(quantity=-2.5))["quantity"] == 2.5


@pytest.mark.parametrize("quantity", [1.0, -1.0])
def test_an_exit_says_exit_only(quantity: float) -> None:
    message = broker().message(intent(quantity=quantity, opens=False))
    assert message["action"] == "exit"
    assert message["quantity"] == 1
    assert message["orderType"] == "market"
    assert message["extras"]["probability"] is None
    assert not {"stopLoss", "takeProfit"} & set(message)


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("points", [7.3, 12.0, 0.01])
def test_a_distance_in_points_is_the_one_that_simulation_keeps(side: float, points: float) -> None:
    terms = (side, 0.0, points, 0.0, 2 * points)
    message = broker().message(intent(quantity=side, terms=terms))
    _, entry, stop, target, _ = execute(opening_account(0.0), terms, 5000.25, MARKETS["ES"].instrument.costs)
    assert message["stopLoss"] == {"type": "stop", "amount": side * (entry - stop)}
    assert message["takeProfit"] == {"amount": side * (target - entry)}


def test_a_fraction_and_points_together_are_an_amount() -> None:
    message = broker().message(intent(terms=(1.0, 0.01, 5.0, NONE, 0.0)))
    assert message["stopLoss"] == {"type": "stop", "amount": 55.0}
    assert "takeProfit" not in message


def test_entries_without_a_stop_need_a_reason() -> None:
    naked = replace(intent(), terms=(1.0, NONE, 0.0, NONE, 0.0))
    with pytest.raises(LiveError, match="ES: entries have no stop"):
        broker().message(naked)
    with pytest.raises(LiveError, match="ES: entries have no stop"):
        broker().check({"ES": False})
    broker().check({"ES": True})
    config = CONFIG.model_copy(update={"allow_unprotected": "hedged by hand"})
    allowed = TradersPost(config, ELSEWHERE, MARKETS, scrub=str)
    allowed.check({"ES": False})
    assert "stopLoss" not in allowed.message(naked)
    with pytest.raises(ConfigError, match="at least 8 characters"):
        validated(TradersPostConfig, {"tickers": {}, "allow_unprotected": "   yes   "}, where="live.yml")


def test_a_symbol_without_a_ticker_is_refused_at_the_start() -> None:
    with pytest.raises(LiveError, match="no ticker of CL"):
        broker().check({"ES": True, "CL": True})


def test_it_reports_no_fills() -> None:
    assert (broker().name, TradersPostConfig.reports_fills) == ("traderspost", False)


def test_shadow_writes_what_would_be_sent_and_acknowledges_itself() -> None:
    shadow, results = ShadowBroker(broker()), Results()
    with pytest.raises(LiveError, match="not started"):
        shadow.submit(intent(), {})
    shadow.start(results)
    message = shadow.message(intent())
    assert message == broker().message(intent())
    shadow.submit(intent(order_id="id-1"), message)
    shadow.stop(1.0)
    assert list(shadow.sent) == [("id-1", message)]
    assert [(result.outcome, result.attempts) for result in results.all] == [("acknowledged", 0)]
    with pytest.raises(LiveError, match="no ticker of CL"):
        shadow.check({"CL": True})


# --- the secret ---------------------------------------------------------------------------------------


def test_the_address_appears_in_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with FaultServer(answer(500)) as server:
        one = broker_at(server)
        results = Results()
        one.start(results)
        submit(one, "id-1")
        one.stop(5.0)
        assert server.requests[0][0] == f"/hook/{SECRET}"
    assert SECRET not in caplog.text + repr(one) + repr(vars(one)) + repr(results.all)


def test_a_probability_that_was_not_asked_for_is_null() -> None:
    assert broker().message(intent(probability=math.nan))["extras"]["probability"] is None
