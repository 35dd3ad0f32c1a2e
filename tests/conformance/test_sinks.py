"""Every alert sink: a dying server holds nobody up, alerts are throttled, the secret is not echoed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conformance.benches import SINK_BENCHES

from lockstep.errors import AlertFailed, LockstepError
from lockstep.monitoring.alerts import Alert, AlertRate, Alerts, Sink, SinkSettings
from lockstep.monitoring.registry import SINKS
from lockstep.plugs import kind_of
from lockstep.secrets import Secrets
from support.http_faults import ENDLESS, Behaviour, FaultServer, answer, cut, drop, garbage, hang, reset
from support.toys.sink import Pager, PagerSettings

REGISTERED: tuple[type[SinkSettings], ...] = (*SINKS.values(), PagerSettings)
SECRET = "s3cr3t-passw0rd"
FAULTS: dict[str, Behaviour] = {
    "hang": hang, "drop": drop, "reset": reset, "garbage": garbage, "500": answer(500), "404": answer(404),
    "drip": ENDLESS["drip in a header"][0], "echo": answer(400, {"message": f"no such hook /hook/{SECRET}"}),
    "cut": cut(500),
}  # fmt: skip

every_sink = pytest.mark.parametrize("kind", list(map(kind_of, REGISTERED)))
every_remote_sink = pytest.mark.parametrize(
    "kind", [kind_of(each) for each in REGISTERED if kind_of(each) != "log"]
)


@contextmanager
def sink_at(kind: str, folder: Path, *behaviours: Behaviour) -> Iterator[tuple[FaultServer, Sink]]:
    assert kind in SINK_BENCHES, f"sink {kind}: the suite cannot meet it; add its bench to benches.py"
    with FaultServer(*(behaviours or (answer(200, {}),))) as server:
        (folder / "url").write_text(server.url)
        (folder / "url").chmod(0o600)
        yield server, SINK_BENCHES[kind](folder / "url").sink(Secrets({}).read)


def alert(text: str = "stopped: the disk is full", number: int = 0) -> Alert:
    return Alert("stop", text, number)


@every_sink
def test_an_alert_arrives_whole(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lockstep.alerts")
    with sink_at(kind, tmp_path) as (server, sink):
        sink.send(alert())
    assert "the disk is full" in json.dumps([body for _, body in server.requests]) + caplog.text
    assert sink.name == kind


@pytest.mark.parametrize(
    "text", ["", "x" * 20_000, "**bold** @everyone <b>", "line\nbreak\x00", "\ud800 ü 漢"]
)
@every_sink
def test_any_text_can_be_sent(kind: str, text: str, tmp_path: Path) -> None:
    with sink_at(kind, tmp_path) as (server, sink):
        sink.send(alert(text))
    assert len(server.requests) == (kind != "log")


@pytest.mark.parametrize("fault", FAULTS)
@every_remote_sink
def test_a_failing_server_is_an_alert_that_failed_within_its_time(
    kind: str, fault: str, tmp_path: Path
) -> None:
    with sink_at(kind, tmp_path, FAULTS[fault]) as (_, sink):
        began = time.monotonic()
        with pytest.raises(AlertFailed) as failed:
            sink.send(alert())
        assert time.monotonic() - began < 3
    assert SECRET not in str(failed.value)
    assert "\n" not in str(failed.value)


@every_remote_sink
def test_a_dead_server_holds_nobody_up(kind: str, tmp_path: Path) -> None:
    with sink_at(kind, tmp_path, hang) as (_, sink):
        alerts = Alerts([sink], AlertRate(burst=100), capacity=20)
        alerts.start()
        began = time.monotonic()
        for number in range(60):
            alerts.post(alert(number=number))
        assert time.monotonic() - began < 0.2, "post waits for the server"
        alerts.stop(0.1)
        assert time.monotonic() - began < 1.0, "the engine waits for the server at its end"
        assert alerts.counts["dropped"] >= 39


@every_sink
def test_a_flood_is_throttled_and_counted(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lockstep.alerts")
    with sink_at(kind, tmp_path) as (server, sink):
        alerts = Alerts([sink], AlertRate(burst=2, per_minute=1))
        alerts.start()
        for _ in range(50):
            alerts.post(alert())
        alerts.stop(5.0)
    told = [json.dumps(body) for _, body in server.requests] or [
        each.message
        for each in caplog.records
        # A thread of an earlier test may still be giving up.
        if each.name == "lockstep.alerts" and "not delivered" not in each.message
    ]
    assert len(told) == 3
    assert "47 more" in told[-1]


@every_remote_sink
def test_its_secret_is_kept_out_of_the_alerts(kind: str, tmp_path: Path) -> None:
    secrets = Secrets({})
    with sink_at(kind, tmp_path) as (server, _):
        sink = SINK_BENCHES[kind](tmp_path / "url").sink(secrets.read)
        alerts = Alerts([sink], scrub=secrets.scrub)
        alerts.start()
        alerts.post(alert(f"could not reach /hook/{SECRET}"))
        alerts.stop(5.0)
    assert server.requests
    assert SECRET not in json.dumps([body for _, body in server.requests])


@every_remote_sink
def test_without_its_secret_it_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    with pytest.raises(LockstepError, match="absent") as refused:
        SINK_BENCHES[kind](tmp_path / "absent").sink(Secrets({}).read)
    assert "\n" not in str(refused.value)


# --- negative controls


PLANTED: dict[str, tuple[Callable[..., Any], Callable[[Path], None]]] = {
    "raises what it must not": (
        lambda self, alert: 1 / 0,
        lambda folder: test_a_failing_server_is_an_alert_that_failed_within_its_time("pager", "500", folder),
    ),
    "tells its address": (
        lambda self, alert: (_ for _ in ()).throw(AlertFailed(self._to.path.get_secret_value())),
        lambda folder: test_a_failing_server_is_an_alert_that_failed_within_its_time("pager", "500", folder),
    ),
    "takes every answer for a yes": (
        lambda self, alert: None,
        lambda folder: test_a_failing_server_is_an_alert_that_failed_within_its_time("pager", "404", folder),
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_broken_sink_is_caught(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, suite = PLANTED[fault]
    suite(tmp_path)
    monkeypatch.setattr(Pager, "send", wrong)
    with pytest.raises((AssertionError, ZeroDivisionError, pytest.fail.Exception)):
        suite(tmp_path)
