"""The dashboard: its start, its page on a large journal, its updates, and what it costs the engine.

`python -m benchmarks.dashboard CONFIG JOURNAL` is the process beside the engine: a dashboard with three
browsers that fetch the desk page anew after every change.
"""

from __future__ import annotations

import http.client
import json
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from benchmarks.measure import ROOT, Measured, of_tests, once
from benchmarks.watching import watching
from lockstep.live.events import EngineStarted
from lockstep.live.journal import Journal
from lockstep.live.journal.schema import COLUMNS

BESIDE = (sys.executable, "-m", "benchmarks.dashboard", "{config}", "{journal}")
COMMITS, BYTES, BROWSERS, UPDATES, STARTS = 10_000, 300_000_000, 3, 20, 5
_KEPT = 1.5
_SHOWN = ("entries", "sets", "bars", "decisions", "orders")


class _Dashboard:
    """A dashboard in a process of its own, asked with its token."""

    def __init__(self, config: Path, token_file: Path, log: Path) -> None:
        command = [
            sys.executable, str(ROOT / "scripts/dashboard.py"), "--config", str(config), "--port", "0",
            "--token-file", str(token_file),
        ]  # fmt: skip
        with log.open("wb") as errors:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)
        assert self.process.stdout is not None
        found = re.search(rb":(\d+)", self.process.stdout.readline())
        assert found is not None, "the dashboard did not start"
        self.port = int(found[1])
        self._head = {"Authorization": f"Bearer {token_file.read_text().strip()}"}

    def ask(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            connection.request("GET", path, headers=self._head)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, (path, answer.status)
            return body

    def changes(self) -> Iterator[None]:
        """Listen, and return what yields at every change that is told of from now on."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/changes", headers=self._head)
        answer = connection.getresponse()
        assert answer.readline().startswith(b"retry")

        def told() -> Iterator[None]:
            with closing(connection):
                for line in answer:
                    if line.startswith(b"event: change"):
                        yield

        return told()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@contextmanager
def _running(config: Path, folder: Path) -> Iterator[_Dashboard]:
    found = _Dashboard(config, folder / "dashboard.token", folder / "dashboard.log")
    try:
        yield found
    finally:
        found.close()


def _browsers(dashboard: _Dashboard, stop: threading.Event) -> list[threading.Thread]:
    """Return threads that look as a browser's tab does."""

    def look() -> None:
        try:
            for _ in dashboard.changes():
                if stop.is_set():
                    return
                dashboard.ask("/pieces/desk")
        except (OSError, http.client.HTTPException):
            return

    found = [threading.Thread(target=look, daemon=True) for _ in range(BROWSERS)]
    for each in found:
        each.start()
    return found


def dashboard(*, commits: int = COMMITS, size: int = BYTES, pairs: int = 5) -> Iterator[Measured]:
    """Measure a dashboard of a desk on paper; the journal is on the disk of the working folder."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        desk = of_tests("support.dashboards").traded_desk(folder)
        config = folder / "live.yml"
        starts = [once(lambda: _first_page(config, folder)) for _ in range(STARTS)]
        yield Measured(
            what="dashboard, process start to first page", value=statistics.median(starts), unit="s",
            promise=2.0, note=f"{STARTS} starts, from {min(starts):.2f} to {max(starts):.2f} s",
        )  # fmt: skip
        with _running(config, folder) as running:
            running.ask("/desk")
            waits = [_update(running, desk.journal) for _ in range(UPDATES)]
        yield Measured(
            what="dashboard, commit to new pieces", value=max(waits), unit="s", promise=2.0,
            note=f"the longest of {UPDATES}; median {statistics.median(waits):.2f} s",
        )  # fmt: skip
        log, seen = _log_size(config, folder, desk.journal, commits)
        yield Measured(
            what="journal's log after commits", value=log / 1e6, unit="MB", promise=10.0,
            note=f"{commits:,} commits, {BROWSERS} browsers that fetched {seen:,} pages meanwhile",
        )  # fmt: skip
        _grow(desk.journal, size)
        with _running(config, folder) as running:
            first = once(lambda: running.ask("/desk"))
            later = []
            for _ in range(5):
                _append(desk.journal)
                time.sleep(_KEPT)  # It shows a page again that is younger than that.
                later.append(once(lambda: running.ask("/desk")))
        for what, value in (("first page", first), ("page after a commit", statistics.median(later))):
            yield Measured(
                what=f"dashboard, {what} of a large journal", value=value, unit="s", promise=1.0,
                note=f"{desk.journal.stat().st_size / 1e6:,.0f} MB",
            )  # fmt: skip
    for each in watching(BESIDE, pairs=pairs):
        yield Measured(
            what=each.what.replace("watched", "with dashboard"), value=each.value, unit=each.unit,
            promise=each.promise, note=each.note,
        )  # fmt: skip


def _first_page(config: Path, folder: Path) -> None:
    with ExitStack() as stack:
        found = stack.enter_context(_running(config, folder))
        assert b"P&amp;L" in found.ask("/desk")
        stack.pop_all()
    found.process.kill()
    found.process.wait()


def _update(running: _Dashboard, journal: Path) -> float:
    told = running.changes()
    began = time.perf_counter()
    of_tests("support.dashboards").commit(journal)
    next(told)
    running.ask("/pieces/desk")
    found = time.perf_counter() - began
    told.close()  # type: ignore[attr-defined]
    return found


def _log_size(config: Path, folder: Path, journal: Path, commits: int) -> tuple[int, int]:
    """Return the largest size of the write-ahead log, and how many pages the browsers fetched."""
    log, stop, largest, pages = journal.with_name(journal.name + "-wal"), threading.Event(), 0, 0
    with _running(config, folder) as running:
        threads = _browsers(running, stop)
        asked = running.ask

        def counted(path: str) -> bytes:
            nonlocal pages
            pages += 1
            return asked(path)

        running.ask = counted  # type: ignore[method-assign]
        with Journal.open(journal) as opened:
            for number in range(commits):
                opened.append(EngineStarted(symbol="", time=number, replayed=number))
                if number % 100 == 0:
                    largest = max(largest, log.stat().st_size)
            largest = max(largest, log.stat().st_size)
        stop.set()
    for each in threads:
        each.join(10)
    return largest, pages


def _grow(journal: Path, size: int) -> None:
    """Repeat the entries of a journal behind themselves until it has a size; their hashes are no chain."""
    with closing(sqlite3.connect(journal)) as writer:
        step = 10**9 * 60
        while journal.stat().st_size < size:
            (last,) = writer.execute("SELECT max(sequence) FROM entries").fetchone()
            (stamps,) = writer.execute("SELECT max(stamp) - min(stamp) FROM sets").fetchone()
            later = stamps + step
            moved = {"sequence": f"sequence + {last}", "stamp": f"stamp + {later}", "end": f"end + {later}"}
            for table in _SHOWN:
                names = COLUMNS[table]
                chosen = ", ".join(moved.get(name, name) for name in names)
                writer.execute(f"INSERT INTO {table} ({', '.join(names)}) SELECT {chosen} FROM {table}")
            writer.commit()
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _append(journal: Path) -> None:
    """Write one more entry; the engine would refuse a journal whose hashes are no chain."""
    with closing(sqlite3.connect(journal)) as writer:
        writer.execute("INSERT INTO entries SELECT max(sequence) + 1, epoch, hash FROM entries")
        writer.commit()


def beside(config: Path, journal: Path) -> None:
    """Run a dashboard of the desk of a monitoring.yml, and three browsers, until somebody ends this."""
    folder = config.parent
    with _running(folder / "live.yml", folder) as running:
        running.ask("/desk")
        threads = _browsers(running, threading.Event())
        (folder / "monitor.db").touch()
        for each in threads:
            each.join()


def main() -> None:
    """Print what is measured as JSON."""
    found = [
        {
            "what": each.what,
            "value": each.value,
            "unit": each.unit,
            "promise": each.promise,
            "note": each.note,
        }
        for each in dashboard()
    ]
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        beside(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        main()
