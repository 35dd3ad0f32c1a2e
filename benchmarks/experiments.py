"""The wide grid: 160,000 combinations, from the command to a finished experiment in the database."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Measured, once, process

_ROOT = Path(__file__).resolve().parents[1]
_KIBIBYTES = 1024
_RUNS = 3
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
    """Measure the command, kernels compiled, and the memory of a sweep of as many variants."""
    yield Measured(
        what="160,000 combinations, command to database",
        value=min(once(_search) for _ in range(_RUNS)),
        unit="s",
        promise=20.0,
        note="320,000 runs on daily bars, winners in Backtrader, verdict",
    )
    yield Measured(
        what="peak memory, 160,000 variants on 5,000 bars",
        value=float(process(_PEAK)) / _KIBIBYTES,
        unit="MiB",
        promise=1024.0,
    )


def _search() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LOCKSTEP_DB": f"sqlite:///{folder}/experiments.db"}
        subprocess.run(
            [sys.executable, *_COMMAND], cwd=_ROOT, env=environment, capture_output=True, check=True
        )
