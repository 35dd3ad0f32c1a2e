"""The dashboard over real HTTP: who may see it, that it only reads, what the desk page says."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from lockstep import console
from lockstep.errors import ConfigError
from lockstep.live.journal import Journal, opening
from operations.dashboard import cli
from operations.dashboard.changes import Changes, DatabaseWatch
from operations.dashboard.page import DashboardPage
from operations.dashboard.pages import desk as desk_page
from operations.dashboard.registry import PAGES
from operations.dashboard.security import SESSION_SECONDS, LoginSessions
from operations.dashboard.server import KEPT_SECONDS
from research.report import page as kit
from support.dashboards import (
    NOW,
    TOKEN,
    ServedDashboard,
    commanded,
    commit,
    retrained,
    running,
    served,
    shown,
    sources_of,
    traded_desk,
)
from support.processes import ROOT, python
from support.watching import WatchedDesk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> WatchedDesk:
    found = traded_desk(tmp_path_factory.mktemp("desk"))
    running(found.folder, NOW)
    return found


@pytest.fixture(scope="module")
def dashboard(desk: WatchedDesk) -> Iterator[ServedDashboard]:
    with served(sources_of(desk.folder), clock=lambda: NOW) as found:
        yield found


@pytest.fixture
def other(tmp_path: Path) -> WatchedDesk:
    """A desk of its own, for a test that spoils it."""
    return traded_desk(tmp_path)


# Who may see it


@pytest.mark.parametrize(
    "path", ["/", "/desk", "/pieces/desk", "/changes", "/metrics", "/nothing", "/openapi.json"]
)
def test_without_a_token_nothing_is_shown(dashboard: ServedDashboard, path: str) -> None:
    for session in ({}, {"Cookie": "lockstep_dashboard=9999999999.00"}, {"Authorization": "Bearer wrong"}):
        answer = dashboard.ask(path, session=False, **session)
        assert answer.status == 401, path
        assert "P&amp;L" not in answer.text
    assert "<form" in dashboard.ask("/desk", session=False).text


def test_a_token_begins_a_session_and_is_nowhere_in_it(dashboard: ServedDashboard) -> None:
    wrong = dashboard.ask("/login", method="POST", body=b"token=something-else", session=False)
    assert (wrong.status, "set-cookie" in wrong.headers) == (401, False)
    right = dashboard.ask("/login", method="POST", body=f"token={TOKEN}&page=desk".encode(), session=False)
    cookie = right.headers["set-cookie"]
    assert (right.status, right.headers["location"]) == (303, "/desk")
    assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    assert dashboard.ask("/desk").status == 200
    assert dashboard.ask("/metrics", session=False, Authorization=f"Bearer {TOKEN}").status == 200


def test_a_login_leads_to_pages_of_this_server_alone(dashboard: ServedDashboard) -> None:
    body = f"token={TOKEN}&page=//evil.example".encode()
    assert dashboard.ask("/login", method="POST", body=body, session=False).headers["location"] == "/desk"
    long = dashboard.ask("/login", method="POST", body=b"token=" + b"a" * 10_000, session=False)
    assert long.status == 413


def test_sessions_end_and_cannot_be_made_up() -> None:
    now = [1_000.0]
    sessions = LoginSessions(TOKEN, clock=lambda: now[0])
    begun = sessions.begun()
    until, _, code = begun.partition(".")
    assert sessions.holds(begun)
    assert not sessions.holds(f"{int(until) + 1}.{code}"), "longer than it was given"
    assert not sessions.holds(f"{until}.{code[:-1]}0" if code[-1] != "0" else f"{until}.{code[:-1]}1")
    assert not sessions.holds(f"{until}.ü"), "not ASCII"
    assert not LoginSessions(f"{TOKEN}-new", clock=lambda: now[0]).holds(begun), "of another token"
    now[0] += SESSION_SECONDS
    assert not sessions.holds(begun)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8790", "localhost.evil.example", "127.0.0.1.nip.io", ""]
)
def test_a_foreign_host_is_refused_with_a_session_too(dashboard: ServedDashboard, host: str) -> None:
    assert dashboard.ask("/desk", Host=host).status == 400
    assert dashboard.ask("/login", Host=host).status == 400


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:1", "[::1]:8790", "LOCALHOST"])
def test_this_machine_is_known_by_its_names_through_a_tunnel_too(
    dashboard: ServedDashboard, host: str
) -> None:
    assert dashboard.ask("/desk", Host=host).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_it_only_reads(dashboard: ServedDashboard, method: str) -> None:
    assert dashboard.ask("/desk", method=method).status == 405
    assert dashboard.ask("/pieces/desk", method=method).status == 405


def test_every_answer_forbids_foreign_and_inline_scripts(dashboard: ServedDashboard) -> None:
    for path in ("/desk", "/login", "/pieces/desk", "/metrics", "/nothing"):
        policy = dashboard.ask(path).headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "script-src 'self';" in policy
    page = dashboard.ask("/desk").text
    assert "<script>" not in page
    assert "onclick" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_files_are_kept_by_the_browser_and_change_their_address(dashboard: ServedDashboard) -> None:
    page = dashboard.ask("/desk").text
    address = next(part for part in page.split('"') if part.endswith("plotly.js"))
    answer = dashboard.ask(address)
    assert "immutable" in answer.headers["cache-control"]
    assert len(answer.text) > 1_000_000
    assert dashboard.ask("/static/0000000000000000/plotly.js").status == 404
    assert dashboard.ask("/desk").headers["cache-control"] == "no-store"


def test_the_token_file_is_made_for_its_owner_alone_and_refused_for_others(other: WatchedDesk) -> None:
    from operations.dashboard.security import token_of

    file = other.folder / "new" / "token"
    token = token_of(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token_of(file) == token
    assert len(token) > 40
    file.chmod(0o640)
    words = ("--config", other.folder / "live.yml", "--token-file", file, "--port", "0")
    done = python(ROOT / "scripts/dashboard.py", *words)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"error: dashboard token: other users can read {file}; chmod 600 it"]
    assert token not in done.stdout + done.stderr


def test_a_port_that_is_taken_is_one_line(other: WatchedDesk) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = python(ROOT / "scripts/dashboard.py", "--config", other.folder / "live.yml", "--port", port)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: dashboard: port {port}: Address already in use; choose another with --port"
    ]
    assert done.stdout == ""


def test_a_token_file_that_cannot_be_made_is_one_line(other: WatchedDesk) -> None:
    words = ("--config", other.folder / "live.yml", "--token-file", other.folder / "live.yml" / "token")
    done = python(ROOT / "scripts/dashboard.py", *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "the token cannot be written; name another file with --token-file" in done.stderr


def test_it_starts_without_what_its_first_page_does_not_need() -> None:
    """Each of these takes a tenth of a second and more; the control: what a report needs brings them."""
    asked = (
        "import sys, operations.dashboard.cli, operations.dashboard.server\n"
        "heavy = ('pandas', 'sqlalchemy', 'sklearn', 'scipy.stats', 'backtrader', 'reportlab')\n"
        "print(*[each for each in heavy if each in sys.modules])\n"
        "import operations.reports.numbers\n"
        "print(*[each for each in heavy if each in sys.modules])\n"
    )
    # A process of its own from the beginning: forks have loaded libraries.
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    first, later = done.stdout.split("\n")[:2]
    assert first == ""
    assert "pandas sqlalchemy" in later


def test_the_command_starts_on_any_journal_and_its_page_says_what_is_wrong(other: WatchedDesk) -> None:
    kept = other.journal.read_bytes()
    with commanded(other.folder) as ask:

        def said(content: bytes | None, version: int | None = None) -> str:
            for each in other.folder.glob("live.db*"):
                each.unlink()
            if content is not None:
                other.journal.write_bytes(content)
            if version is not None:
                with closing(sqlite3.connect(other.journal)) as writer:
                    writer.execute(f"PRAGMA user_version = {version}")
            time.sleep(KEPT_SECONDS)  # A page that is younger is shown again.
            answer = ask("/desk")
            assert answer.status == 200
            return answer.text

        assert "there is none: check the path; the live engine creates it" in said(None)
        assert "restore as in docs/journal.md" in said(b"SQLite format 3\0" + b"\xff" * 8_000)
        assert "open it for writing once" in said(kept, 0)
        assert "written by a newer Lockstep" in said(kept, 99)
        assert "2,198.25" in said(kept), "the stop of the open position: the journal is there again"


def test_a_locked_journal_is_said_by_page_and_report(other: WatchedDesk) -> None:
    report = partial(
        python, "-m", "operations.main", "report", "--monitoring", other.config, "--out", other.folder / "out"
    )
    with (
        commanded(other.folder) as ask,
        ThreadPoolExecutor(1) as aside,
        closing(sqlite3.connect(other.journal, isolation_level=None)) as writer,
    ):
        writer.execute("PRAGMA journal_mode = DELETE")
        writer.execute("BEGIN EXCLUSIVE")
        reporting = aside.submit(report)
        page, done = ask("/desk").text, reporting.result()
    assert "another program keeps it locked" in page
    assert done.returncode == console.FAULT, "it may be over a moment later"
    assert len(done.stderr.splitlines()) == 1
    assert "another program keeps it locked" in done.stderr
    assert not (other.folder / "out").exists()


# That it only reads, and when it reads anew


def test_a_commit_a_file_and_time_are_changes_and_nothing_else_is(other: WatchedDesk) -> None:
    now = [0.0]
    status = other.folder / "status.json"
    changes = Changes([other.journal, other.database], [status], tick=10.0, clock=lambda: now[0])
    assert changes.look()
    assert not changes.look()
    with Journal.open(other.journal, readonly=True) as reader:
        reader.select("SELECT max(sequence) FROM entries")
    assert not changes.look(), "somebody has only read"
    commit(other.journal)
    assert changes.look()
    running(other.folder, NOW)
    assert changes.look()
    assert not changes.look()
    now[0] += 10.0
    assert changes.look(), "ages are out of date"
    other.run()
    assert changes.look()


def test_a_journal_that_is_absent_replaced_or_no_database_is_looked_at_again(other: WatchedDesk) -> None:
    kept = other.journal.rename(other.folder / "kept.db")
    watch = DatabaseWatch(other.journal)
    assert watch.mark() == ()
    other.journal.write_bytes(b"no database" * 1_000)
    damaged = watch.mark()
    assert damaged[-1] == -1
    os.replace(kept, other.journal)
    found = watch.mark()
    assert found not in (damaged, ())
    assert watch.mark() == found
    watch.close()


def test_a_commit_reaches_every_browser(other: WatchedDesk) -> None:
    with served(sources_of(other.folder)) as dashboard, ExitStack() as stack:
        streams = [stack.enter_context(_stream(dashboard)) for _ in range(3)]
        for each in streams:
            _until(each, b"retry")
        began = time.monotonic()
        commit(other.journal)
        for each in streams:
            _until(each, b"event: change")
        assert time.monotonic() - began < 2.0
        assert "replayed 0" in dashboard.pieces()


def _stream(dashboard: ServedDashboard) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", dashboard.port), timeout=10)
    head = f"GET /changes HTTP/1.1\r\nHost: localhost\r\nCookie: {dashboard.cookie}\r\n\r\n"
    found.sendall(head.encode())
    return found


def _until(stream: socket.socket, wanted: bytes) -> None:
    seen = b""
    while wanted not in seen:
        piece = stream.recv(4_096)
        assert piece, seen
        seen += piece


def test_the_log_can_be_emptied_while_browsers_look(other: WatchedDesk) -> None:
    with served(sources_of(other.folder)) as dashboard, ExitStack() as stack:
        for _ in range(3):
            _until(stack.enter_context(_stream(dashboard)), b"retry")
        for _ in range(3):
            dashboard.pieces()
        with closing(sqlite3.connect(other.journal)) as writer:
            busy, *_ = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 0
        assert not (other.folder / "live.db-wal").stat().st_size
        # The control: a reader that keeps a transaction open does hold it up.
        with closing(sqlite3.connect(other.journal, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT max(sequence) FROM entries").fetchall()
            commit(other.journal)
            with closing(sqlite3.connect(other.journal, timeout=0.1)) as writer:
                busy, *_ = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 1


def test_a_page_changes_no_byte_and_counts_no_table(
    other: WatchedDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    plain = opening._connected

    def traced(path: Path) -> sqlite3.Connection:
        found = plain(path)
        found.set_trace_callback(statements.append)
        return found

    monkeypatch.setattr(opening, "_connected", traced)
    before = {path.name: path.read_bytes() for path in other.folder.glob("*.db")}
    shown(other.folder)
    assert {path.name: path.read_bytes() for path in other.folder.glob("*.db")} == before
    words = [" ".join(each.split()).lower() for each in statements if "sqlite_master" not in each]
    assert len(words) > 8
    assert not [each for each in words if "count(" in each or each.startswith(("begin", "insert", "update"))]


def test_a_fault_of_one_page_leaves_the_others(desk: WatchedDesk) -> None:
    def broken(*_: object) -> list[kit.Markup]:
        raise ZeroDivisionError

    pages = (desk_page.PAGE, DashboardPage(name="broken", title="Broken", build=broken))
    with served(sources_of(desk.folder), pages=pages) as dashboard:
        assert "the dashboard has a fault" in dashboard.ask("/broken").text
        assert "Positions" in dashboard.ask("/desk").text
        assert dashboard.ask("/third").status == 404


def test_pages_have_names_that_no_other_address_has() -> None:
    names = [each.name for each in PAGES]
    assert len(set(names)) == len(names)
    assert not {"login", "metrics", "changes", "pieces", "static"} & set(names)


def test_which_retrainings_are_those_of_the_desk(tmp_path: Path) -> None:
    desk = traded_desk(tmp_path / "desk")
    retrained(desk.folder)
    live = desk.folder / "live.yml"
    found = cli._retraining(live, None)
    assert found is not None
    assert found.database == desk.folder / "retraining.db"
    other = tmp_path / "live.yml"
    other.write_text(live.read_text())
    (tmp_path / "retraining.yml").write_text((desk.folder / "retraining.yml").read_text())
    assert cli._retraining(other, None) is None, "its monitor watches another desk"
    assert cli._retraining(other, desk.folder / "retraining.yml") == found, "somebody named it"
    with pytest.raises(ConfigError, match=r"none\.yml"):
        cli._retraining(live, tmp_path / "none.yml")
