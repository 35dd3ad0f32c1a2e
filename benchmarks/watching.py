"""What a monitor costs the engine: a paper replay alone and beside a process that watches its journal."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import yaml

from benchmarks.measure import ROOT, Measured, of_tests, once
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.live.service import Service
from lockstep.metrics import Floats

MONITOR = (sys.executable, str(ROOT / "scripts/monitor.py"), "run", "--config", "{config}", "--every", "1")
PAIRS, MOST, MOST_P99 = 9, 1.05, 1.10
SEED = 0
"""Of the models of the desk."""
START, END = "2016-01-04", "2017-12-29"
_PATIENCE, _SETTLED, _BEGUN = 60.0, 2.0, 20


def watching(
    command: Sequence[str] = MONITOR,
    *,
    pairs: int = PAIRS,
    end: str = END,
    settled: float = _SETTLED,
    seed: int = SEED,
) -> Iterator[Measured]:
    """Measure interleaved replays of COMP and SPX on embedded bars, journal on disk, alone and watched.

    Twice: by the clock, which is right on a quiet machine, and without the time in which the engine could run
    and no processor was free, which is what a busy one can show: locks, disk, cache. Then the slowest
    hundredth of all bar sets (p99), by the clock, from one commit to the next.

    command   of the watching process; {config} is its monitoring.yml, {journal} the journal. It starts after
              the first sets and before what is measured, has begun when monitor.db exists, and live until the
              end
    pairs     of replays, in turns: what the machine does meanwhile meets both
    end       last session of the replay; settled   seconds from the first look to the replay
    seed      of the desk's models

    RuntimeError where the watching process ends early or never looks.
    """
    alone, watched = [], []
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).resolve()
        _desk(folder, seed)
        _replay(folder / "warm-up", folder, end, None, settled)
        for pair in range(pairs):
            for place in (0, 1):
                beside = command if place != pair % 2 else None
                found = _replay(folder / f"{pair}-{place}", folder, end, beside, settled)
                (watched if beside else alone).append(found)
    usual = statistics.median(each.elapsed for each in alone)
    for name, what in (("elapsed", ""), ("running", ", waits for a processor apart")):
        ratios = [
            getattr(one, name) / getattr(other, name) for one, other in zip(watched, alone, strict=True)
        ]
        yield Measured(
            what=f"paper replay, watched / alone{what}",
            value=statistics.median(ratios),
            unit="x",
            promise=MOST,
            note=f"{pairs} interleaved pairs of {alone[0].sets} sets, {usual:.2f} s alone; "
            f"ratios from {min(ratios):.3f} to {max(ratios):.3f}",
        )
    yield _slowest(alone, watched)


class _Replay(NamedTuple):
    """Seconds of a replay, those apart in which its thread waited for a processor, its bar sets.

    steps   seconds from each set's commit to the next one's, (sets - 1,)
    """

    elapsed: float
    running: float
    sets: int
    steps: Floats


def _slowest(alone: Sequence[_Replay], watched: Sequence[_Replay]) -> Measured:
    """Return the 99th percentile of all bar sets, watched over alone."""
    ratios = [_p99(one.steps) / _p99(other.steps) for one, other in zip(watched, alone, strict=True)]
    usual, beside = (_p99(np.concatenate([each.steps for each in found])) for found in (alone, watched))
    return Measured(
        what="bar set of a paper replay, p99, watched / alone",
        value=beside / usual,
        unit="x",
        promise=MOST_P99,
        note=f"{usual * 1e3:.2f} ms alone, {beside * 1e3:.2f} ms watched, all sets of {len(alone)} pairs; "
        f"ratios of single pairs from {min(ratios):.3f} to {max(ratios):.3f}",
    )


def _p99(steps: Floats) -> float:
    return float(np.percentile(steps, 99))


def _desk(folder: Path, seed: int) -> None:
    """Write the store that all replays share: a model of COMP and one of SPX."""
    papers, desks, models = (of_tests(f"support.{each}") for each in ("papers", "desks", "models"))
    store = papers.store(folder / "store", seed)
    store.register(desks.bundle("SPX", seed=seed), record=models.RECORD, by="me", now=papers.NOW)
    store.promote("SPX", "v1", by="me", now=papers.NOW, reason="benchmark", force=True)


def _replay(own: Path, folder: Path, end: str, command: Sequence[str] | None, settled: float) -> _Replay:
    """Return what one replay into a new journal took."""
    own.mkdir()
    config = of_tests("support.papers").config(
        own,
        store=str(folder / "store"),
        instruments=[{"symbol": "COMP"}, {"symbol": "SPX"}],
        feeds=[{"kind": "replay", "start": START, "end": end}],
    )
    watched = {"desk": str(config), "database": str(own / "monitor.db"), "every": 1.0}
    (own / "monitoring.yml").write_text(yaml.safe_dump(watched), encoding="utf-8")
    # The desk tells its console of every stop. A monitor has nothing to watch before the first decision.
    with redirect_stderr(StringIO()):
        with Service(config, mode=None, environment={}, stop_after=_BEGUN) as begun:
            begun.run()
    with redirect_stderr(StringIO()), Service(config, mode=None, environment={}) as service:
        names = {"config": str(own / "monitoring.yml"), "journal": str(own / "live.db")}
        with _watched([each.format(**names) for each in command or ()], own, settled):
            waited = _waited()
            with _commits() as commits:
                elapsed = once(service.run)
            waited = _waited() - waited
    with Journal.open(own / "live.db", readonly=True) as journal:
        return _Replay(elapsed, elapsed - waited, journal.count_sets(1), np.diff(commits))


@contextmanager
def _commits() -> Iterator[list[float]]:
    """Note when each bar set of this process is committed, in seconds, while the block runs."""
    plain, found = Journal.append_set, list[float]()

    def noted(journal: Journal, record: SetRecord) -> int:
        sequence = plain(journal, record)
        found.append(time.perf_counter())
        return sequence

    with patch.object(Journal, "append_set", noted):
        yield found


def _waited() -> float:
    """Return the seconds for which this thread could run and no processor was free; 0 where nobody counts."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


@contextmanager
def _watched(command: Sequence[str], own: Path, settled: float) -> Iterator[None]:
    """Let a process watch, none without a command; RuntimeError where it ends before the block does."""
    if not command:
        yield
        return
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (own / "monitor.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        patience = time.monotonic() + _PATIENCE
        while not (own / "monitor.db").exists():
            _require_alive(process, own)
            if time.monotonic() > patience:
                raise RuntimeError(f"{' '.join(command)}: never looked; no {own / 'monitor.db'}")
            time.sleep(0.05)
        time.sleep(settled)
        yield
        _require_alive(process, own)
    finally:
        process.terminate()
        try:
            process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _require_alive(process: subprocess.Popen[bytes], own: Path) -> None:
    if process.poll() is not None:
        said = (own / "monitor.log").read_text(errors="replace").strip().splitlines()
        raise RuntimeError(f"the watching process ended with {process.returncode}: {(said or [''])[-1]}")
