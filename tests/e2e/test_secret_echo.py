"""A real engine in mode live, and servers that echo whatever they were sent in every way there is."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lockstep.live.events import OrderAcknowledged, OrderRejected, OrderUnknown
from lockstep.live.journal import Journal
from lockstep.live.status.status import read_status
from lockstep.models.store import ModelStore
from support import desks, papers
from support.echoes import FORMS, fragments
from support.http_faults import Behaviour, FaultServer
from support.models import RECORD

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {"hook": "s3cr3t-passw0rd", "feed": "0f1e2d3c4b5a69788796", "discord": "Q9w-e8R_t7Y"}
# Closes near the low, and both indices alike: an entry at every bar that finds the desk flat.
BARS = {
    "COMP": {"open": 6650.0, "high": 6700.0, "low": 6600.0, "close": 6610.0, "volume": 1.0e9},
    "SPX": {"open": 2510.0, "high": 2520.0, "low": 2490.0, "close": 2500.0, "volume": 1.0e9},
}
DAYS = ("2019-01-02", "2019-01-03", "2019-01-04", "2019-01-07", "2019-01-08", "2019-01-09")


def echo(status: int, form: str) -> Behaviour:
    """Answer with the request's path, in a form, wherever an answer has room for words."""

    def behave(connection: socket.socket, released: threading.Event) -> None:
        secret = f"/hook/{SECRETS['hook']}"
        told = FORMS[form](secret)
        line = " ".join(told.split()).replace("\0", "")
        words = {"success": False, "id": secret, "messageCode": told, "message": f"no such hook: {told}"}
        body = json.dumps(words).encode()
        head = [
            f"HTTP/1.1 {status} {line.encode('ascii', 'ignore').decode()}",
            f"Location: http://127.0.0.1{secret}?again={line}",
            f'WWW-Authenticate: Basic realm="{line}"',
            f"Retry-After: {line}",
            f"X-Path: {line}",
            f"{secret.replace('/', 'X')}: 1",
            "Transfer-Encoding: chunked",
        ]
        chunk = f"{len(body):x};path={line}\r\n"
        whole = "\r\n".join([*head, "", chunk]).encode("ascii", "ignore") + body
        connection.sendall(whole + f"\r\n0\r\nX-Trailer: {line}\r\n\r\n".encode("ascii", "ignore"))

    return behave


# What the broker answers to one order after the other; the last leaves it UNKNOWN.
ANSWERS = (
    echo(400, "verbatim"),
    echo(401, "URL"),
    echo(403, "base64 of more"),
    echo(422, "JSON within JSON"),
    echo(429, "HTML numbers"),
    echo(302, "broken into lines"),
)


# Within this many seconds the engine has looked outside: at the positions that its broker exports.
_LOOK = 1.2


class Desk:
    """An engine in mode live with a clock of its own, its two servers, and all that it writes."""

    def __init__(self, folder: Path, broker: FaultServer, discord: FaultServer, *, scrubber: str) -> None:
        self.folder, self.broker = folder, broker
        self.port, self.health = free_port(), free_port()
        hook = folder / "hook"
        hook.touch(0o600)
        hook.write_text(f"http://127.0.0.1:{broker.port}/hook/{SECRETS['hook']}\n")
        config = papers.config(
            folder,
            mode="live",
            fills_by_hand=True,
            positions=str(folder / "positions.csv"),
            clock={"unchecked": "not in a test"},
            expire=1e9,
            grace=1,
            health_port=self.health,
            feeds=[{"kind": "http", "port": self.port, "base": {"COMP": "1d", "SPX": "1d"}}],
            rollout={"stages": [{"from_day": 1, "mode": "live"}]},
            alerts={"discord": True, "rate": {"burst": 1000}},
            traderspost={"tickers": {"COMP": "QQQ"}, "url_file": str(hook), "attempts": 1},
        )
        self.set_clock(f"{DAYS[0]}T20:00:00+00:00")
        environment = {
            **os.environ,
            "LOCKSTEP_FEED_TOKEN": SECRETS["feed"],
            "DISCORD_WEBHOOK_URL": f"http://127.0.0.1:{discord.port}/api/{SECRETS['discord']}/x-{SECRETS['hook']}",
        }
        command = [
            sys.executable, str(ROOT / "tests/support/clocked_engine.py"), str(folder / "clock"), scrubber,
            "--config", str(config), "--log", str(folder / "engine.log"),
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def set_clock(self, moment: str) -> None:
        stamp = int(datetime.fromisoformat(moment).timestamp()) * 1_000_000_000
        for name, content in {
            "positions.csv": f"symbol,quantity,as_of\nCOMP,0,{moment}\n",
            "clock": str(stamp),
        }.items():
            new = self.folder / f"{name}.new"
            new.write_text(content)
            new.replace(self.folder / name)

    def until(self, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def running(self) -> bool:
        path = self.folder / "status.json"
        return path.exists() and read_status(path).state == "running"

    def post(self, body: object, token: str = SECRETS["feed"]) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/bars",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            urllib.request.urlopen(request, timeout=30).close()
        except urllib.error.HTTPError as error:
            error.close()

    def trade(self, day: str, following: str) -> None:
        """Let a day end, and the next one open, at which the order leaves; wait for what became of it."""
        before = len(self.results())
        end = f"{day}T21:00:00+00:00"
        self.set_clock(f"{day}T21:00:01+00:00")
        time.sleep(_LOOK)
        self.post([{"symbol": symbol, "timeframe": "1d", "end": end, **bar} for symbol, bar in BARS.items()])
        self.set_clock(f"{following}T14:31:00+00:00")
        self.until(lambda: len(self.results()) > before)

    def results(self) -> list[str]:
        with Journal.open(self.folder / "live.db", readonly=True) as journal:
            return [event.kind for event in journal.events(OrderRejected, OrderUnknown, OrderAcknowledged)]

    def written(self) -> dict[str, str]:
        """Return everything that the process has let out, by place."""
        journal = b"".join(path.read_bytes() for path in sorted(self.folder.glob("live.db*")))
        found = {"journal": journal.decode("latin-1")}
        for page in ("metrics", "health"):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/{page}", timeout=10) as answer:
                found[page] = answer.read().decode()
        self.process.send_signal(signal.SIGTERM)
        said, complained = self.process.communicate(timeout=30)
        assert self.process.returncode == 0, complained
        found["status"] = (self.folder / "status.json").read_text()
        found["log"] = (self.folder / "engine.log").read_text()
        return {**found, "stdout": said.decode(), "stderr": complained.decode()}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def traded(tmp_path: Path) -> Iterator[Callable[..., tuple[Desk, FaultServer]]]:
    """Trade some days; returns the desk, still running, and the server that heard its alerts."""
    store = ModelStore(tmp_path / "store")
    store.folder.mkdir()
    now = datetime(2026, 1, 2, tzinfo=UTC)
    store.register(desks.bundle("COMP", threshold=0.0), record=RECORD, by="me", now=now)
    store.promote("COMP", "v1", by="me", now=now, reason="test", force=True)
    processes: list[subprocess.Popen[bytes]] = []

    def trade(scrubber: str, *answers: Behaviour) -> tuple[Desk, FaultServer]:
        desk = Desk(tmp_path, broker, discord, scrubber=scrubber)
        processes.append(desk.process)
        broker._behaviours = answers
        desk.until(desk.running)
        for form in ("verbatim", "URL"):
            told = FORMS[form](SECRETS["feed"])
            desk.post([{"symbol": told, "timeframe": told, "end": told, "close": told, told: told}])
        desk.post({"said": SECRETS["feed"]}, token="another-" + SECRETS["hook"])
        for day, following in zip(DAYS, (*DAYS[1:], "2019-01-10"), strict=True):
            if len(broker.requests) < len(answers):
                desk.trade(day, following)
        return desk, discord

    with FaultServer() as broker, FaultServer(echo(400, "verbatim")) as discord:
        yield trade
        for process in processes:
            process.kill()
            process.communicate()


def shown(discord: FaultServer) -> str:
    """Return the alerts as Discord shows them, without the escapes: a secret could hide behind those."""
    text = "\n".join(body["content"] for _, body in discord.requests)
    return re.sub(r"\\(.)", r"\1", text).replace("\u200b", "")


def leaks(written: dict[str, str]) -> dict[str, set[str]]:
    found = {
        (place, name): fragments(text, secret)
        for place, text in written.items()
        for name, secret in SECRETS.items()
    }
    return {f"{name} in {place}": pieces for (place, name), pieces in found.items() if pieces}


def test_whatever_the_servers_echo_no_secret_is_written_anywhere(
    traded: Callable[..., tuple[Desk, FaultServer]],
) -> None:
    desk, discord = traded("scrubbed", *ANSWERS)
    assert [body["extras"]["orderId"].split("-")[-2] for _, body in desk.broker.requests] == ["entry"] * 6
    assert desk.results() == ["rejected"] * 5 + ["unknown"]
    written = desk.written()
    written["alerts"] = shown(discord)
    for place in ("journal", "log", "alerts"):
        assert "[secret]" in written[place], f"the echo reached the {place}, without the secret"
    assert len(discord.requests) > 6
    assert leaks(written) == {}


def test_without_the_scrubber_they_are_found(traded: Callable[..., tuple[Desk, FaultServer]]) -> None:
    desk, discord = traded("open", ANSWERS[1])
    written = desk.written()
    written["alerts"] = shown(discord)
    assert {"hook in journal", "hook in log", "hook in alerts"} <= set(leaks(written))
