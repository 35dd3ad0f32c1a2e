"""A dashboard of a desk, served over real HTTP on the loopback address by a thread of the test."""

from __future__ import annotations

import atexit
import functools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lockstep.live.config import LiveConfig
from lockstep.live.events import EngineStarted
from lockstep.live.journal import Journal
from lockstep.live.service import Service
from lockstep.live.status.status import Status, write_status
from lockstep.models.store import ModelStore
from lockstep.monitoring.champion import ChallengerVerdict
from operations.dashboard.page import DashboardPage, DashboardSources
from operations.dashboard.pages.desk import DeskReader
from operations.dashboard.registry import PAGES
from operations.dashboard.server import bound, dashboard_app, server_of
from operations.desk_risk import subject_of_desk
from operations.retraining.book import RetrainingBook, ShadowLook, Step, StepRow
from operations.retraining.config import RetrainingConfig
from operations.watch.config import MonitoringConfig
from research.report import page as kit
from research.risk.measured import measure
from research.risk.written import write_risk
from support import live_portfolios, papers
from support.processes import ROOT
from support.watching import WatchedDesk, watched_desk

NOW = 1_800_000_000 * 10**9
# Sets after which both lanes hold a position; sessions that its risk is measured on, for speed.
_BOTH_HELD, _RISK_SESSIONS = 40, 600
TOKEN = "correct-horse-battery-staple-17"


class Answer(NamedTuple):
    """What came back: status, headers in small letters, body."""

    status: int
    headers: dict[str, str]
    text: str


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class ServedDashboard:
    """A running dashboard; `cookie` is of a session that was begun with the token."""

    port: int
    cookie: str = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        session: bool = True,
        **headers: str,
    ) -> Answer:
        """Return the answer to one request, redirects as they come; header names with `_` for `-`."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if session and self.cookie:
            given.setdefault("Cookie", self.cookie)
        asked = urllib.request.Request(self.address + path, data=body, method=method, headers=given)
        opener = urllib.request.build_opener(_Stay)
        try:
            answer = opener.open(asked, timeout=30)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            found = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, found, answer.read().decode())

    def pieces(self, page: str = "desk") -> str:
        """Return what a page shows, as its script would fetch it."""
        answer = self.ask(f"/pieces/{page}")
        assert answer.status == 200, answer
        return "".join(piece for _, piece in json.loads(answer.text)["pieces"])

    def logged_in(self) -> ServedDashboard:
        """Return the same dashboard with a session."""
        answer = self.ask("/login", method="POST", body=f"token={TOKEN}&page=desk".encode())
        assert answer.status == 303, answer
        return ServedDashboard(self.port, answer.headers["set-cookie"].partition(";")[0])


@contextmanager
def served(
    sources: DashboardSources,
    *,
    token: str = TOKEN,
    pages: Sequence[DashboardPage] = PAGES,
    clock: Callable[[], int] = time.time_ns,
    port: int = 0,
) -> Iterator[ServedDashboard]:
    """Serve a dashboard while the block runs; it has a session already."""
    server = server_of(dashboard_app(sources, token=token, pages=pages, clock=clock))
    with bound(port) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the dashboard ended"
            time.sleep(0.005)
        try:
            found = ServedDashboard(listening.getsockname()[1])
            yield found.logged_in() if token == TOKEN else found
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the dashboard does not stop"


@contextmanager
def commanded(folder: Path) -> Iterator[Callable[[str], Answer]]:
    """Run the dashboard command on a desk folder while the block runs; yield what asks it with its token."""
    token = folder / "dashboard.token"
    command = [
        sys.executable, str(ROOT / "scripts/dashboard.py"), "--config", str(folder / "live.yml"),
        "--port", "0", "--token-file", str(token),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = re.fullmatch(r"dashboard: http://localhost:(\d+)\n", process.stdout.readline())
            assert said is not None, "the dashboard did not start"
            bearer = {"Authorization": f"Bearer {token.read_text().strip()}"}
            yield partial(ServedDashboard(int(said[1])).ask, **bearer)
        finally:
            process.terminate()


def sources_of(folder: Path, *, watched: bool = True) -> DashboardSources:
    """Return where the dashboard of a desk folder of a test reads."""
    return DashboardSources(
        live=LiveConfig.load(folder / "live.yml"),
        monitoring=MonitoringConfig.load(folder / "monitoring.yml") if watched else None,
        store=ModelStore(folder / "store"),
        ledger=f"sqlite:///{folder / 'experiments.db'}",
        results=folder / "results",
        retraining=RetrainingConfig.load(retraining)
        if (retraining := folder / "retraining.yml").is_file()
        else None,
    )


@functools.cache
def _template(seed: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lockstep-dashboard-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    desk = watched_desk(folder, seed, reference=False)
    papers.traded(folder, desk.models()[0], name="live.db")
    desk.run()
    return folder


def traded_desk(folder: Path, seed: int = 0) -> WatchedDesk:
    """Return a desk on paper that has traded 120 sessions, and was watched; no engine has a status there."""
    shutil.copytree(_template(seed), folder, dirs_exist_ok=True)
    papers.config(folder)
    desk = WatchedDesk(folder, ModelStore(folder / "store"))
    desk.config.write_text(yaml.safe_dump({"desk": str(folder / "live.yml"), "database": str(desk.database)}))
    return desk


def portfolio_desk(folder: Path) -> WatchedDesk:
    """Return a desk with a portfolio of two indices that holds both, with its risk measured, and watched."""
    limits = {**live_portfolios.PORTFOLIO["limits"], "max_positions": 2, "daily_loss": {"fraction": 0.05}}
    groups = {"us_equity": {"symbols": ["COMP", "SPX"], "max_gross": 2.0}}
    path = live_portfolios.desk(folder, portfolio={"limits": limits, "groups": groups})
    with Service(path, mode=None, environment={}, stop_after=_BOTH_HELD) as service:
        service.run()
    subject = subject_of_desk(path)
    recent = replace(
        subject, dates=subject.dates[-_RISK_SESSIONS:], changes=subject.changes[-_RISK_SESSIONS:]
    )
    write_risk(measure(recent), folder)
    desk = WatchedDesk(folder, ModelStore(folder / "store"))
    desk.config.write_text(yaml.safe_dump({"desk": str(path), "database": str(desk.database)}))
    desk.run()
    return desk


def running(folder: Path, now: int, **changes: Any) -> Status:
    """Write the status of an engine that is well at `now`, UTC ns, and return it."""
    given = {
        "mode": "paper", "state": "running", "epoch": 1, "started": now - 3_600 * 10**9, "heartbeat": now,
        "versions": {"COMP": "v1"}, "profit_today": {"COMP": -194.8}, "positions": {"COMP": 1.0},
    }  # fmt: skip
    status = Status(**{**given, **changes})
    write_status(folder / "status.json", status)
    return status


def marks(journal: Path) -> list[tuple[int, float]]:
    """Return stamp and equity of every bar set of a desk with one lane, read in the plainest way."""
    with Journal.open(journal, readonly=True) as found:
        return [
            (stamp, equity)
            for stamp, equity in found.select(
                "SELECT stamp, mark_equity FROM sets JOIN decisions USING (sequence) ORDER BY sequence"
            )
        ]


def commit(journal: Path, replayed: int = 0) -> None:
    """Write one event into a journal, as an engine would."""
    with Journal.open(journal) as found:
        found.append(EngineStarted(symbol="", time=NOW, replayed=replayed))


def shown(folder: Path, now: int = NOW) -> str:
    """Return the desk page of a folder, without a server."""
    return kit.joined(*DeskReader().pieces(sources_of(folder), now))


BEGUN = {
    "champion": "v1",
    "version": "v2",
    "margin": 0.02,
    "max_days": 120,
    "fresh_from": 1_264_453_200 * 10**9,
}


def retrained(folder: Path, *steps: Step, looks: int = 30, approval: str = "person") -> Path:
    """Write the retrainings of a desk with one run, by default one that waits for a person; return its book.

    Each look is a day later than the one before, and says more.
    """
    config, database = folder / "retraining.yml", folder / "retraining.db"
    content = {
        "monitoring": str(folder / "monitoring.yml"), "database": str(database), "runs": str(folder / "runs"),
        "approval": approval,
    }  # fmt: skip
    config.write_text(yaml.safe_dump(content))
    usual = (Step.TRIGGERED, Step.TRAINED, Step.VALIDATED, Step.CERTIFIED, Step.SHADOWING)
    with RetrainingBook.open(database) as book:
        for number, step in enumerate(steps or usual):
            book.append(StepRow(
                number=0, run="96c0261b60d135a7", symbol="COMP", step=step, time=NOW + number, desk=NOW,
                by="auto", inputs={"kind": "alarm"}, outputs=BEGUN, sentence=f"COMP: it is {step} <now>",
            ))  # fmt: skip
        for day in range(looks):
            book.looked(ShadowLook(
                run="96c0261b60d135a7", desk=int(BEGUN["fresh_from"]) + day * 86_400 * 10**9,
                verdict=ChallengerVerdict.NOT_WORSE if day > 20 else ChallengerVerdict.UNDECIDED,
                signals=day, e_value=1.0 + day / 10, mean=day / 5_000 if day else None,
                low=-1.0 / (2 * day) if day else None, high=1.0 / (2 * day) if day else None,
            ))  # fmt: skip
    return database
