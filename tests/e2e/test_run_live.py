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

from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.live.status import read_status
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import DAILY
from support import papers

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "0123456789abcdef0123"
# Two sessions after the embedded bars end.
ENDS = ("2019-01-02T21:00:00+00:00", "2019-01-03T21:00:00+00:00")
BAR = {"open": 6650.0, "high": 6700.0, "low": 6600.0, "close": 6610.0, "volume": 1.0e9}


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


def bars_at(end: str) -> list[dict[str, object]]:
    return [{"symbol": symbol, "timeframe": "1d", "end": end, **BAR} for symbol in ("COMP", "SPX")]


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
    with urllib.request.urlopen(f"http://127.0.0.1:{health}/health", timeout=10) as answer:
        assert answer.status == 200
    ended(first)
    with Journal.open(tmp_path / "live.db", readonly=True) as journal:
        assert [event.content for event in journal.events("stop")] == [{"why": "SIGTERM"}]
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
        assert list(journal.events("start"))[-1].content == {"replayed": 1}


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
        for path in files.values():
            with path.open("a") as stream:
                stream.write(f"{day},6650,6700,6600,6610,1000000\n")
    until(lambda: len(sets(tmp_path)) == 2, process)
    ended(process)
    assert [len(row.release.bars) for row in sets(tmp_path)] == [2, 2]
    key = SeriesKey("COMP", DAILY)
    assert [row.release.bars[key][3] for row in sets(tmp_path)] == [6610.0, 6610.0]


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
    assert "was begun with another config" in said
    assert yaml.safe_load((tmp_path / "live.yml").read_text())["grace"] == 7
