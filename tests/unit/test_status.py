"""Status file, command, HTTP, watchdog and logs: what the engine shows of itself."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import os
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from rich.console import Console

from lockstep.errors import DataError, LiveError
from lockstep.live.risk.switches import Switches
from lockstep.live.status.health import HealthServer
from lockstep.live.status.logs import configure_logs
from lockstep.live.status.status import (
    ColdWindow,
    Status,
    beat,
    heartbeat_file,
    read_status,
    status_table,
    to_json,
    write_status,
)
from lockstep.live.status.systemd import ALIVE, READY, notify
from lockstep.live.status.watcher import Watcher
from lockstep.monitoring.alerts import Alert, Alerts
from lockstep.secrets import Secrets
from support.events import an_event

SECOND = 1_000_000_000
NOW = 1_709_737_200 * SECOND
STATUS = Status(
    mode="live",
    state="running",
    epoch=3,
    started=NOW - 3600 * SECOND,
    heartbeat=NOW - 2 * SECOND,
    rollout="live 10 %",
    versions={"ES": "v3"},
    pending_swaps={"ES": "v4: waits for bars"},
    positions={"ES": -2.0},
    profit_today={"ES": -1250.5},
    cold_windows=(ColdWindow("ES", "rsi_14", 10, 90),),
    last_bars={"ES:1h": NOW},
    quarantined=("ES:1h 2024-03-06T15:00:00Z",),
    queues={"orders": 1},
    kill_switch="KILL: bad fills",
    unknown_orders=("3-live-ES-1-entry-1",),
    alerts={"sent": 4, "dropped": 1},
    counters={"refused kill_switch": 2},
)


def changed(**changes: Any) -> Status:
    return dataclasses.replace(STATUS, **changes)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_status(path, STATUS)
    assert read_status(path) == STATUS
    assert sorted(each.name for each in tmp_path.iterdir()) == ["status.heartbeat", "status.json"]


def test_the_newest_heartbeat_counts(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_status(path, STATUS)
    beat(path, NOW + 5)
    assert read_status(path).heartbeat == NOW + 5
    for content in ("", "soon"):
        heartbeat_file(path).write_text(content, encoding="utf-8")
        assert read_status(path).heartbeat == STATUS.heartbeat
    heartbeat_file(path).unlink()
    assert read_status(path).heartbeat == STATUS.heartbeat


def test_a_reader_sees_the_old_or_the_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "status.json"
    write_status(path, STATUS)

    def full(*args: object, **kwargs: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(DataError, match="No space left"):
            write_status(path, changed(epoch=4))
    assert read_status(path) == STATUS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is the engine started"),
        ("{", "is no status file"),
        ("[]", "not a status of schema 1"),
        ('{"schema": 2}', "not a status of schema 1"),
        ('{"schema": 1, "mode": "live"}', "is no status file"),
        (to_json(STATUS).replace('"epoch"', '"epoche"'), "is no status file"),
    ],
    ids=["absent", "broken", "list", "newer", "incomplete", "misspelled"],
)
def test_what_is_no_status_is_refused(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(LiveError, match=message):
        read_status(path)


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        (STATUS, None),
        (changed(state="starting"), None),
        (changed(state="replaying"), None),
        (changed(heartbeat=NOW - 60 * SECOND), None),
        (changed(heartbeat=NOW - 61 * SECOND), "stale: last heartbeat 61 s ago"),
        (changed(heartbeat=NOW + 61 * SECOND), "stale: last heartbeat -61 s ago"),
        (changed(state="stopped"), "stopped"),
        (changed(state="mismatch", detail="ES decision"), "mismatch: ES decision"),
    ],
)
def test_when_somebody_should_look(status: Status, trouble: str | None) -> None:
    assert status.trouble(NOW, stale_seconds=60.0) == trouble


def shown(status: Status) -> str:
    screen = io.StringIO()
    Console(width=120, file=screen).print(status_table(status, NOW, stale_seconds=60.0))
    return screen.getvalue()


def test_the_table_shows_everything_that_matters() -> None:
    text = shown(STATUS)
    for part in (
        "fine", "live, running, epoch 3", "2.0 s ago", "KILL: bad fills", "3-live-ES-1-entry-1", "ES v3",
        "waits for bars", "ES -2", "-1,250.50 USD", "rsi_14: 10 of 90 bars", "2024-03-06 15:00:00 UTC",
        "ES:1h 2024-03-06T15:00:00Z", "orders 1", "sent 4", "refused kill_switch 2", "live 10 %",
    ):  # fmt: skip
        assert part in text
    assert re.search(r"HALT +off", text)


def test_the_table_leaves_out_what_there_is_not() -> None:
    text = shown(changed(state="stopped", unknown_orders=(), positions={}))
    assert "unknown orders" not in text
    assert re.search(r"positions +flat", text)
    assert re.search(r"verdict +stopped", text)


@pytest.mark.parametrize(
    ("state", "detail"), [("starting", "opening the journal"), ("replaying", "bar set 50 of 10,000")]
)
def test_the_table_says_what_a_start_is_doing(state: Any, detail: str) -> None:
    assert re.search(rf"doing +{detail}", shown(changed(state=state, detail=detail)))
    assert "doing" not in shown(changed(detail=detail))


def test_what_keeps_entries_out_is_shown() -> None:
    text = shown(changed(unreconciled={"ES": "the engine holds +1, the broker +2"}, clock="is 4.0 s behind"))
    assert re.search(r"unreconciled +ES the engine holds \+1, the broker \+2", text)
    assert re.search(r"clock +is 4\.0 s behind", text)
    assert "unreconciled" not in shown(STATUS)


def test_a_replay_shows_how_far_it_is(tmp_path: Path) -> None:
    """Once a second at most; a clock that is asked at every bar set would cost more than it tells."""
    path = tmp_path / "status.json"
    switches = Switches(kill_file=tmp_path / "KILL", halt_file=tmp_path / "HALT")
    watcher = Watcher(path, mode="paper", epoch=1, started=NOW, alerts=Alerts([]), switches=switches)
    asked = 0

    def clock() -> int:
        nonlocal asked
        asked += 1
        return NOW + asked * SECOND // 3

    watcher.replaying(1_234, NOW)
    assert (read_status(path).state, read_status(path).detail) == ("replaying", "bar set 0 of 1,234")
    seen = set()
    for _ in range(1_234):
        watcher.replayed(clock)
        seen.add(read_status(path).detail)
    assert len(seen) > 3
    assert all(re.fullmatch(r"bar set [\d,]+ of 1,234", each) for each in seen)
    assert asked < 60


# --- over HTTP ----------------------------------------------------------------------------------------


class Shown:
    def __init__(self) -> None:
        self.status = STATUS


@pytest.fixture
def look() -> Shown:
    return Shown()


@pytest.fixture
def server(look: Shown) -> Iterator[HealthServer]:
    server = HealthServer(0, lambda: look.status, lambda: NOW, stale_seconds=60.0)
    server.start()
    yield server
    server.stop()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_is_200_or_503_with_the_reason(server: HealthServer, look: Shown) -> None:
    assert get(server, "/health") == (200, '{"healthy": true, "trouble": null}')
    look.status = changed(state="mismatch", detail="ES order")
    assert get(server, "/health") == (503, '{"healthy": false, "trouble": "mismatch: ES order"}')
    assert get(server, "/orders")[0] == 404


def test_metrics_follow_the_status(server: HealthServer, look: Shown) -> None:
    code, text = get(server, "/metrics")
    assert code == 200
    for line in (
        "lockstep_up 1.0", "lockstep_heartbeat_age_seconds 2.0", "lockstep_kill_switch 1.0",
        "lockstep_halt 0.0", "lockstep_unknown_orders 1.0", "lockstep_cold_windows 1.0",
        "lockstep_quarantined_bars 1.0",
        'lockstep_position_contracts{symbol="ES"} -2.0', 'lockstep_profit_today_usd{symbol="ES"} -1250.5',
        'lockstep_queue_length{queue="orders"} 1.0', 'lockstep_alerts_total{fate="sent"} 4.0',
        'lockstep_events_total{name="refused kill_switch"} 2.0',
    ):  # fmt: skip
        assert line in text.splitlines()
    assert "python_info" not in text
    look.status = changed(state="stopped", positions={"NQ": 1.0})
    text = get(server, "/metrics")[1]
    assert "lockstep_up 0.0" in text
    assert 'lockstep_position_contracts{symbol="NQ"} 1.0' in text


def test_a_taken_port_is_one_clear_line(server: HealthServer) -> None:
    with pytest.raises(LiveError, match=f"port {server.port}: Address already in use"):
        HealthServer(server.port, lambda: STATUS, lambda: NOW, stale_seconds=60.0)


def test_it_listens_on_this_machine_only(server: HealthServer) -> None:
    assert server._server.server_address[0] == "127.0.0.1"


def test_a_server_that_was_not_started_can_be_stopped() -> None:
    HealthServer(0, lambda: STATUS, lambda: NOW, stale_seconds=60.0).stop()


# --- systemd ------------------------------------------------------------------------------------------


def test_systemd_hears_of_it(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        assert notify(READY, {"NOTIFY_SOCKET": path})
        assert manager.recv(100) == b"READY=1"


def test_an_abstract_address_begins_with_an_at_sign() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")  # the kernel picks an abstract address
        address = manager.getsockname().decode()
        assert notify(ALIVE, {"NOTIFY_SOCKET": "@" + address[1:]})
        assert manager.recv(100) == b"WATCHDOG=1"


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    assert not notify(READY, {})
    assert not notify(READY, {"NOTIFY_SOCKET": str(tmp_path / "nobody")})


# --- the watcher --------------------------------------------------------------------------------------


def test_the_watcher_tells_of_faults_once_and_writes_no_secret(tmp_path: Path) -> None:
    """A thread that survived an unexpected error is counted, and somebody hears of it."""
    secrets, heard = Secrets({}), ListSink()
    secrets.add("hook", SecretStr(URL))
    alerts = Alerts([heard], scrub=secrets.scrub)
    watcher = Watcher(
        tmp_path / "status.json",
        mode="live",
        epoch=1,
        started=NOW,
        alerts=alerts,
        switches=Switches(kill_file=tmp_path / "KILL", halt_file=tmp_path / "HALT"),
        scrubbed=secrets.scrubbed,
    )
    faults = {"sender": 0}
    watcher.watch(lambda: {"faults": dict(faults), "pending_swaps": {"ES": f"see {URL}"}})
    (tmp_path / "HALT").write_text(URL)
    alerts.start()
    for count in (0, 2, 2):
        faults["sender"] = count
        watcher.beat(now=NOW)
    watcher.happened(an_event("unknown", symbol="ES", content={"detail": URL}), replayed=False)
    watcher.end("stopped", f"it said {URL}", NOW)
    alerts.stop(5.0)
    assert [each.kind for each in heard.alerts] == ["fault", "unknown_order"]
    assert heard.alerts[0].text == "sender: 2 unexpected errors so far, see the log"
    status = read_status(tmp_path / "status.json")
    assert status.faults == {"sender": 2}
    written = (tmp_path / "status.json").read_text() + repr(heard.alerts) + repr(watcher.status)
    assert "w0rd" not in written
    assert written.count("[secret]") > 4


class ListSink:
    name = "list"

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def send(self, alert: Alert) -> None:
        self.alerts.append(alert)


# --- logs ---------------------------------------------------------------------------------------------

URL = 'https://example.com/trading/webhook/4f1c/pass"w0rd-1234'


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers[:] = []
    path = tmp_path / "engine.log"
    secrets = Secrets({})
    secrets.add("hook", SecretStr(URL))
    handler = configure_logs(secrets, path)
    yield path
    handler.close()
    root.handlers[:], level = before
    root.setLevel(level)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_line_is_an_object(log_file: Path) -> None:
    logger = logging.getLogger("lockstep.live")
    logger.info("set %d\nreleased", 7, extra={"symbol": "ES", "path": Path("a")})
    logger.debug("too much")
    first, *rest = lines(log_file)
    assert rest == []
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "info",
        "logger": "lockstep.live",
        "message": "set 7\nreleased",
        "symbol": "ES",
        "path": "a",
    }


def test_secrets_are_cut_out_of_messages_fields_and_tracebacks(log_file: Path) -> None:
    class Shown:
        def __str__(self) -> str:
            return URL

    try:
        raise LiveError(f"post to {URL} failed")
    except LiveError:
        extra = {"url": URL, "nested": {"list": [URL, 7]}, "shown": Shown()}
        logging.getLogger("x").exception('POST /trading/webhook/4f1c/pass"w0rd-1234', extra=extra)
    text = log_file.read_text(encoding="utf-8")
    assert "w0rd" not in text
    (line,) = lines(log_file)
    hidden = "https://example.com/trading/webhook/4f1c/[secret]"
    assert line["url"] == line["shown"] == hidden
    assert line["nested"] == {"list": [hidden, 7]}
    assert f"post to {hidden} failed" in line["exception"]


def test_what_utf8_cannot_hold_is_written_as_an_escape(log_file: Path) -> None:
    (handler,) = (each for each in logging.getLogger().handlers if isinstance(each, WatchedFileHandler))
    handler.handle(logging.makeLogRecord({"msg": "a \ud800 b", "levelno": logging.INFO}))
    assert "ud800" in log_file.read_text(encoding="utf-8")


def test_a_rotated_file_is_opened_again(log_file: Path) -> None:
    logger = logging.getLogger("x")
    logger.info("before")
    log_file.rename(log_file.with_suffix(".1"))
    logger.info("after")
    assert [line["message"] for line in lines(log_file)] == ["after"]


def test_without_a_file_stderr_is_written(log_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Secrets({}))
    logging.getLogger("x").warning("hello")
    assert json.loads(capsys.readouterr().err)["message"] == "hello"
