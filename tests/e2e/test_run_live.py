"""`run_live.py` as an operator starts it: bars posted or appended while it runs, SIGTERM, restart."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockstep.live.events import BarJudged, EngineStarted, EngineStopped
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.live.status.monitor import MonitorSummary, RaisedAlarm, monitor_file, write_monitor
from lockstep.live.status.status import read_status
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import DAILY
from support import papers

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "0123456789abcdef0123"
# Sessions after the embedded bars end, and prices near the last ones.
ENDS = ("2019-01-02T21:00:00+00:00", "2019-01-03T21:00:00+00:00", "2019-01-04T21:00:00+00:00")
BARS = {
    "COMP": {"open": 6650.0, "high": 6700.0, "low": 6600.0, "close": 6610.0, "volume": 1.0e9},
    "SPX": {"open": 2500.0, "high": 2520.0, "low": 2490.0, "close": 2510.0, "volume": 1.0e9},
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """Return what `condition` gives as soon as it gives something."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen within a minute")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start engines of a desk with other settings; what is left running at the end is killed."""
    papers.store(tmp_path / "store")
    running: list[subprocess.Popen[str]] = []

    def begin(**changes: object) -> subprocess.Popen[str]:
        path = papers.config(tmp_path, **changes)
        command = [sys.executable, "scripts/run_live.py", "--config", str(path)]
        environment = {**os.environ, "LOCKSTEP_FEED_TOKEN": TOKEN}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def is_running(tmp_path: Path) -> bool:
    path = tmp_path / "status.json"
    return path.exists() and read_status(path).state == "running"


def post(port: int, *bars: dict[str, object]) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/bars",
        data=json.dumps(bars).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, json.loads(answer.read())


def healthy(port: int) -> dict[str, Any]:
    """Return the body of `/health`, which answers 200."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
        assert answer.status == 200
        return json.loads(answer.read())  # type: ignore[no-any-return]


def bar_at(end: str, symbol: str, **changes: float) -> dict[str, object]:
    return {"symbol": symbol, "timeframe": "1d", "end": end, **BARS[symbol], **changes}


def bars_at(end: str) -> list[dict[str, object]]:
    return [bar_at(end, symbol) for symbol in BARS]


def ended(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said


def sets(tmp_path: Path) -> list[SetRecord]:
    with Journal.open(tmp_path / "live.db", readonly=True) as journal:
        return [row for row in journal.entries(1) if isinstance(row, SetRecord)]


def test_posted_bars_are_journaled_before_the_answer_and_known_after_a_restart(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    port, health = free_port(), free_port()
    feeds = [{"kind": "http", "port": port, "base": {"COMP": "1d", "SPX": "1d"}}]
    first = start(feeds=feeds, health_port=health, grace=2)
    until(lambda: is_running(tmp_path), first)
    assert post(port, *bars_at(ENDS[0]))[0] == 200
    assert len(sets(tmp_path)) == 1
    assert healthy(health) == {"healthy": True, "trouble": None}
    place = "COMP win_rate"
    raised = RaisedAlarm(place=place, level="ALARM", severity="alert", since=1, raised=2, sentence="it fell")
    alarmed = MonitorSummary(written=time.time_ns(), stale_after=3_600.0, alarms=(raised,))
    write_monitor(monitor_file(tmp_path / "status.json"), alarmed)
    until(lambda: "monitor" in healthy(health), first)
    body = healthy(health)
    assert (body["healthy"], body["monitor"]["alarms"][0]["place"]) == (True, place)
    ended(first)
    with Journal.open(tmp_path / "live.db", readonly=True) as journal:
        assert [event.why for event in journal.events(EngineStopped)] == ["SIGTERM"]
    assert read_status(tmp_path / "status.json").state == "stopped"

    second = start(feeds=feeds, health_port=health, grace=2)
    until(lambda: is_running(tmp_path), second)
    status, counts = post(port, *bars_at(ENDS[0]))
    assert (status, counts["duplicate"]) == (200, 2)
    assert post(port, *bars_at(ENDS[1]))[0] == 200
    ended(second)
    found = sets(tmp_path)
    assert [len(row.release.bars) for row in found] == [2, 2]
    assert all(row.lanes[0].symbol == "COMP" for row in found)
    with Journal.open(tmp_path / "live.db", readonly=True) as journal:
        assert list(journal.events(EngineStarted))[-1].replayed == 1


def test_clients_that_drip_do_not_hold_up_the_end(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    port, health = free_port(), free_port()
    feeds = [{"kind": "http", "port": port, "base": {"COMP": "1d", "SPX": "1d"}}]
    process = start(feeds=feeds, health_port=health, grace=2)
    until(lambda: is_running(tmp_path), process)
    dripping, over = [], threading.Event()
    for each in (port, health) * 20:
        client = socket.create_connection(("127.0.0.1", each), timeout=10)
        client.sendall(b"POST /bars HTTP/1.1\r\nX: ")
        dripping.append(client)

    def drip() -> None:
        while not over.wait(0.2):
            for client in dripping:
                with suppress(OSError):
                    client.sendall(b"a")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        assert post(port, *bars_at(ENDS[0]))[0] == 200
        began = time.monotonic()
        ended(process)
        assert time.monotonic() - began < 10
    finally:
        over.set()
        thread.join()
        for client in dripping:
            client.close()


def test_lines_that_are_appended_are_traded(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    files = {symbol: tmp_path / f"{symbol}_bt.csv" for symbol in ("COMP", "SPX")}
    for path in files.values():
        path.write_text("datetime,open,high,low,close,volume\n")
    feeds = [
        {"kind": "tail", "symbol": symbol, "path": str(path), "source": "futures_daily", "interval": 0.05}
        for symbol, path in files.items()
    ]
    process = start(feeds=feeds, grace=5)
    until(lambda: is_running(tmp_path), process)
    for day in ("2019-01-02", "2019-01-03"):
        for symbol, path in files.items():
            with path.open("a") as stream:
                stream.write(f"{day},{','.join(map(str, BARS[symbol].values()))}\n")
    until(lambda: len(sets(tmp_path)) == 2, process)
    ended(process)
    assert [len(row.release.bars) for row in sets(tmp_path)] == [2, 2]
    key = SeriesKey("COMP", DAILY)
    assert [row.release.bars[key][3] for row in sets(tmp_path)] == [6610.0, 6610.0]


def operate(tmp_path: Path, *arguments: str) -> str:
    """Run the operator's command on bars; what it said."""
    config = str(tmp_path / "live.yml")
    done = papers.run("bars.py", *arguments, "--config", config)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_absurd_bar_is_quarantined_corrected_or_accepted(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """PARITY 39: a correction takes the place of an absurd bar, a decision brings a market that moved."""
    port = free_port()
    feeds = [{"kind": "http", "port": port, "base": {"COMP": "1d", "SPX": "1d"}}]
    first = start(feeds=feeds, grace=1)
    until(lambda: is_running(tmp_path), first)
    status, counts = post(port, bar_at(ENDS[0], "COMP", high=1e308))
    assert (status, counts["refused"]) == (200, 1)
    (shown,) = until(lambda: read_status(tmp_path / "status.json").quarantined, first)
    assert shown == "COMP:1d 2019-01-02T21:00:00Z"
    status, counts = post(port, *bars_at(ENDS[0]))
    assert (status, counts["accepted"]) == (200, 2)
    moved = {"open": 9_000.0, "high": 9_050.0, "low": 8_990.0, "close": 9_010.0}
    status, counts = post(port, bar_at(ENDS[1], "COMP", **moved), bar_at(ENDS[1], "SPX"))
    assert (counts["refused"], counts["accepted"]) == (1, 1)
    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=30)
    assert first.returncode == 0, said
    assert "lockstep data bars accept COMP:1d 2019-01-03T21:00:00Z" in said, "the alert in the log"

    second = start(feeds=feeds, grace=1)
    until(lambda: is_running(tmp_path), second)
    assert "engine is running" in operate(
        tmp_path, "accept", "COMP", "2019-01-03T21:00:00Z", "--reason", "the exchange shows it"
    )
    until(lambda: not read_status(tmp_path / "status.json").quarantined, second)
    status, counts = post(port, bar_at(ENDS[2], "COMP", **moved), bar_at(ENDS[2], "SPX"))
    assert (status, counts["accepted"]) == (200, 2)
    ended(second)
    found = [row.release for row in sets(tmp_path)]
    key = SeriesKey("COMP", DAILY)
    assert [(key in each.bars, len(each.late)) for each in found] == [(True, 0), (False, 0), (True, 1)]
    assert found[0].bars[key][1] == BARS["COMP"]["high"]
    assert found[2].late[0].values[3] == moved["close"]
    with Journal.open(tmp_path / "live.db", readonly=True) as journal:
        (decision,) = journal.events(BarJudged)
        assert decision.reason == "the exchange shows it"
        assert journal.verify() == []


def test_a_second_engine_on_the_same_journal_is_refused(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    feeds = [{"kind": "http", "port": free_port(), "base": {"COMP": "1d", "SPX": "1d"}}]
    first = start(feeds=feeds)
    until(lambda: is_running(tmp_path), first)
    second = start(feeds=feeds)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 2
    assert str(first.pid) in said.strip().splitlines()[-1]


def test_a_changed_configuration_asks_for_a_new_epoch(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    first = start()
    first.communicate(timeout=120)
    assert first.returncode == 0
    again = start(grace=7)
    _, said = again.communicate(timeout=60)
    assert again.returncode == 2
    assert "config changed since epoch 1 of the journal was begun" in said
    assert yaml.safe_load((tmp_path / "live.yml").read_text())["grace"] == 7
