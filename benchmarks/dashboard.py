"""The dashboard: its start, updates, the journal's log, a large journal, and what it costs the engine.

`python -m benchmarks.dashboard [--seed N]` writes `benchmarks/results/dashboard.json`, with the seed of the
desk's models and the hash of the code that ran. `python -m benchmarks.dashboard CONFIG JOURNAL` is what runs
beside the engine: a dashboard, and three clients that fetch the desk page anew after every change.
"""

from __future__ import annotations

import argparse
import http.client
import re
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, Measured, of_tests, once
from benchmarks.watching import SEED, watching
from lockstep.identity import plug_hash
from lockstep.live.events import EngineStarted
from lockstep.live.journal import Journal
from lockstep.live.journal.schema import COLUMNS
from operations.dashboard.server import KEPT_SECONDS
from research.backtest.folder import write_json

RESULTS = ROOT / "benchmarks" / "results" / "dashboard.json"
BESIDE = (sys.executable, "-m", "benchmarks.dashboard", "{config}", "{journal}")
COMMITS, BYTES, WINDOWS, UPDATES, STARTS, PAIRS = 10_000, 300_000_000, 3, 20, 5, 7
# Between two commits, seconds: all of them take long enough for the windows to follow.
_PAUSE = 0.001
_SHOWN = ("entries", "sets", "bars", "decisions", "orders")
_IS_LIVE = "document.getElementById('connection')?.textContent === 'live'"
_FETCHED = "performance.getEntriesByType('resource').filter((one) => one.name.includes('/pieces/')).length"


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
        self.token = token_file.read_text().strip()

    def ask(self, path: str) -> bytes:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, (path, answer.status)
            return body

    def changes(self) -> Iterator[None]:
        """Yield at every change that is told of."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", "/changes", headers={"Authorization": f"Bearer {self.token}"})
            for line in connection.getresponse():
                if line.startswith(b"event: change"):
                    yield

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


@contextmanager
def _windows(dashboard: _Dashboard) -> Iterator[list[Any]]:
    """Open the desk page in three windows of a real chromium, each logged in by its form."""
    with (
        tempfile.TemporaryDirectory() as profile,
        of_tests("support.browser").browser(Path(profile)) as opened,
    ):
        found = [opened.window() for _ in range(WINDOWS)]
        for each in found:
            each.look_like(width=1280)
            each.open(f"http://localhost:{dashboard.port}/desk")
            if each.ask("document.getElementById('token') !== null"):
                each.wait("document.activeElement.id === 'token'")
                each.write(dashboard.token)
                each.press("Enter")
            each.wait(_IS_LIVE)
            each.ask("performance.setResourceTimingBufferSize(100_000), 1")
        assert all(each.ask("document.visibilityState") == "visible" for each in found), "a window is hidden"
        yield found


def dashboard(
    *, commits: int = COMMITS, size: int = BYTES, pairs: int = PAIRS, seed: int = SEED
) -> Iterator[Measured]:
    """Measure a dashboard of a desk on paper; the journal is on the disk of the working folder.

    commits  while three windows are open; size  of the large journal, bytes; pairs  of replays beside it
    seed     of the desk's models
    """
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        desk = of_tests("support.dashboards").traded_desk(folder, seed)
        config = folder / "live.yml"
        yield _start(config, folder)
        with _running(config, folder) as running, _windows(running) as windows:
            yield _update(windows, desk.journal)
            yield _log_size(windows, desk.journal, commits)
        _grow(desk.journal, size)
        yield from _large(config, folder, desk.journal)
    for each in watching(BESIDE, pairs=pairs, seed=seed):
        yield replace(each, what=each.what.replace("watched", f"with dashboard and {WINDOWS} clients"))


def _start(config: Path, folder: Path) -> Measured:
    """Measure from the command to its first answered page."""
    waits, spent = [], []
    for _ in range(STARTS):
        before = _children()
        began = time.perf_counter()
        found = _Dashboard(config, folder / "dashboard.token", folder / "dashboard.log")
        assert b"P&amp;L" in found.ask("/desk")
        waits.append(time.perf_counter() - began)
        found.process.kill()
        found.process.wait()
        spent.append(_children() - before)
    return Measured(
        what="dashboard, command to first page", value=statistics.median(waits), unit="s", promise=2.0,
        note=f"{STARTS} starts, from {min(waits):.2f} to {max(waits):.2f} s; processor time "
        f"{statistics.median(spent):.2f} s",
    )  # fmt: skip


def _children() -> float:
    """Return the processor time of all processes that this one has waited for, seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _update(windows: Sequence[Any], journal: Path) -> Measured:
    """Measure from a commit until all windows show it."""
    waits = []
    for number in range(UPDATES):
        mark = 1_000_000 + number
        began = time.perf_counter()
        of_tests("support.dashboards").commit(journal, mark)
        for each in windows:
            each.wait(f"document.body.innerText.includes('replayed {mark}')")
        waits.append(time.perf_counter() - began)
    return Measured(
        what="dashboard, commit to all windows", value=max(waits), unit="s", promise=2.0,
        note=f"the longest of {UPDATES}, {WINDOWS} chromium windows; median {statistics.median(waits):.2f} s",
    )  # fmt: skip


def _log_size(windows: Sequence[Any], journal: Path, commits: int) -> Measured:
    """Measure the largest write-ahead log while an engine's journal is written and windows follow."""
    log, largest = journal.with_name(journal.name + "-wal"), 0
    before = [each.ask(_FETCHED) for each in windows]
    began = time.perf_counter()
    with Journal.open(journal) as opened:
        for number in range(commits):
            opened.append(EngineStarted(symbol="", time=number, replayed=number))
            if number % 100 == 0:
                largest = max(largest, log.stat().st_size)
            time.sleep(_PAUSE)
        elapsed = time.perf_counter() - began
        largest = max(largest, log.stat().st_size)
        pages = [each.ask(_FETCHED) - seen for each, seen in zip(windows, before, strict=True)]
    assert min(pages), f"a window looked away: {pages}"
    return Measured(
        what="journal's log after commits", value=largest / 1e6, unit="MB", promise=10.0,
        note=f"{commits:,} commits in {elapsed:.0f} s; {WINDOWS} chromium windows fetched "
        f"{', '.join(map(str, pages))} pages meanwhile",
    )  # fmt: skip


def _large(config: Path, folder: Path, journal: Path) -> Iterator[Measured]:
    """Measure the desk page of a large journal, read for the first time and then after commits."""
    with _running(config, folder) as running:
        first = once(lambda: running.ask("/desk"))
        later = []
        for _ in range(5):
            _append(journal)
            time.sleep(1.5 * KEPT_SECONDS)  # A page that is younger than this is shown again.
            later.append(once(lambda: running.ask("/desk")))
    for what, value in (("first page", first), ("page after a commit", statistics.median(later))):
        yield Measured(
            what=f"dashboard, {what} of a large journal", value=value, unit="s", promise=1.0,
            note=f"{journal.stat().st_size / 1e6:,.0f} MB",
        )  # fmt: skip


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
    """Run a dashboard of the desk of a monitoring.yml, and three clients, until somebody ends this."""
    folder = config.parent
    # Whoever ends this ends the dashboard too: one that is left would sit beside the replays that come after.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    with _running(folder / "live.yml", folder) as running:
        running.ask("/desk")
        threads = [threading.Thread(target=_follow, args=(running,), daemon=True) for _ in range(WINDOWS)]
        for each in threads:
            each.start()
        (folder / "monitor.db").touch()
        for each in threads:
            each.join()


def _follow(dashboard: _Dashboard) -> None:
    """Fetch the desk page anew after every change, as a browser's window does."""
    try:
        for _ in dashboard.changes():
            dashboard.ask("/pieces/desk")
    except (OSError, http.client.HTTPException):
        return


def told(found: Sequence[Measured], seed: int) -> dict[str, Any]:
    """Return what was measured as plain JSON, with the seed and the hash of the dashboard's code."""
    return {
        "benchmark": "dashboard",
        "seed": seed,
        "code": plug_hash("operations.dashboard.server"),
        "passed": all(each.kept for each in found),
        "measured": [
            {
                "what": each.what, "value": each.value, "unit": each.unit, "promise": each.promise,
                "kept": each.kept, "note": each.note,
            }
            for each in found
        ],
    }  # fmt: skip


def main(
    arguments: Sequence[str], measure: Callable[..., Iterator[Measured]] = dashboard, path: Path = RESULTS
) -> int:
    """Measure, print and write; exit code 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard")
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args(arguments)
    found = []
    for each in measure(seed=asked.seed):
        print(f"{each.what}: {each.value:.3g} {each.unit} of {each.promise:g}; {each.note}", flush=True)
        found.append(each)
    write_json(path, told(found, asked.seed))
    return 0 if all(each.kept for each in found) else 1


if __name__ == "__main__":
    if len(sys.argv) == 3 and not sys.argv[1].startswith("-"):
        beside(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        sys.exit(main(sys.argv[1:]))
