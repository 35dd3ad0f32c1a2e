"""The wide grid: 160,000 combinations, from the command to a finished experiment in the database."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import Measured, once, process
from research.ledger.shares import PARTS_OF_TIME

_ROOT = Path(__file__).resolve().parents[1]
_KIBIBYTES = 1024
_RUNS = 3
_SHARE = re.compile(rf"^({'|'.join(PARTS_OF_TIME)}) +([0-9.]+) s ", re.MULTILINE)
_COMMAND = (
    "scripts/experiments.py", "grid-search", "--name", "wide", "--yes",
    "--strategy", "configs/strategies/baseline_v1.yaml",
    "--grid", "configs/grids/baseline_wide.yaml",
)  # fmt: skip

_PEAK = """
from dataclasses import replace
from pathlib import Path
import numpy as np
from benchmarks.workload import history, hourly_bars
from lockstep.strategy.families.ibs import IbsConfig
from research.experiments.variants import draw
from research.experiments.grid import Grid
from research.experiments.variants import VariantSpace
from research.sweep.run import sweep
base = IbsConfig(name="wide", timeframe="1h", stop={"percent": 1.0})
values = Grid.load(Path("configs/grids/baseline_wide.yaml")).parameters
drawn = draw(VariantSpace(base=base, values=values), range(160_000))
sweep(drawn.configs, history(hourly_bars(5_000)), "ES")
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def wide_grid() -> Iterator[Measured]:
    """Measure the command, kernels compiled, its shares, and the memory of a sweep of as many variants.

    `LOCKSTEP_BENCH_BEFORE` may name a checkout of an earlier version with its environment: it is measured in
    turns with this one, and must take half as long again at least.
    """
    shares: list[str] = []
    earlier = os.environ.get("LOCKSTEP_BENCH_BEFORE")
    here, before = [], []
    for _ in range(_RUNS):
        here.append(once(lambda: shares.append(_search(_ROOT, "--verbose"))))
        if earlier:
            before.append(once(lambda: _search(Path(earlier))))
    yield Measured(
        what="160,000 combinations, command to database",
        value=min(here),
        unit="s",
        promise=20.0,
        note="320,000 runs on daily bars, winners in Backtrader, verdict",
    )
    yield from _shares(shares[int(np.argmin(here))], min(here))
    if before:
        yield Measured(
            what="the same, relative to the earlier version",
            value=min(here) / min(before),
            unit="x",
            promise=2.0 / 3.0,
            note=f"{min(before):.1f} s there",
        )
    yield Measured(
        what="peak memory, 160,000 variants on 5,000 bars",
        value=float(process(_PEAK)) / _KIBIBYTES,
        unit="MiB",
        promise=1024.0,
    )


def _shares(printed: str, whole: float) -> Iterator[Measured]:
    """Yield the seconds of each part as the command printed them, and of what came before it: its start."""
    found = {part: float(seconds) for part, seconds in _SHARE.findall(printed)}
    for part, seconds in {"start": whole - sum(found.values()), **found}.items():
        note = f"{seconds / whole:.0%} of the command"
        yield Measured(what=f"  of these, {part}", value=seconds, unit="s", promise=whole, note=note)


def _search(root: Path, *flags: str) -> str:
    """Return what the command of a checkout printed."""
    python = sys.executable if root == _ROOT else str(root / ".venv" / "bin" / "python")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LOCKSTEP_DB": f"sqlite:///{folder}/experiments.db"}
        done = subprocess.run(
            [python, *_COMMAND, *flags], cwd=root, env=environment, capture_output=True, check=True, text=True
        )
    return done.stdout
