"""A whole night from the command to its page: four instruments, 100,000 variants each, and its second start.

Real futures where they are; else shuffled days of the embedded indices. Prints what each step took.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import ROOT, Measured, of_tests, once

SYMBOLS = ("ES", "NQ", "CL", "GC")
REAL = ROOT.parent / "shared/data/futures_daily"
SPLIT = {
    "train": ["2011-09-01", "2015-12-31"],
    "validation": ["2016-01-04", "2018-12-31"],
    "holdout": ["2019-01-02", "2020-08-31"],
}


def night() -> list[Measured]:
    """Return the wall time of the shipped spaces on four instruments, and of starting them once more."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = _written(folder)
        first = once(lambda: _run(folder, config))
        second = once(lambda: _run(folder, config))
    what = "real futures" if REAL.is_dir() else "shuffled days of embedded indices"
    return [
        Measured(what="a night of 4 x 100,000 variants", value=first, unit="s", promise=120.0, note=what),
        Measured(what="the same night again: nothing new", value=second, unit="s", promise=3.0),
    ]


def _written(folder: Path) -> Path:
    shipped = ROOT / "configs/pipeline"
    content: dict[str, Any] = yaml.safe_load((shipped / "nightly.yml").read_text(encoding="utf-8"))
    for space in content["spaces"]:
        space |= {"strategy": str(shipped / space["strategy"]), "split": SPLIT}
    bars = REAL if REAL.is_dir() else _shuffled(folder / "futures_daily")
    content |= {
        "symbols": list(SYMBOLS), "data_dir": str(bars), "results": str(folder / "results"),
        "log": str(folder / "STRATEGY_LOG.md"),
    }  # fmt: skip
    path = folder / "nightly.yml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def _shuffled(folder: Path) -> Path:
    """Write 2,500 shuffled days for each symbol."""
    embedded, support = of_tests("support.shuffled"), of_tests("support.nights")
    for number, symbol in enumerate(SYMBOLS):
        bars = support.bars_until("2018-12-31", "COMP" if number % 2 else "SPX")
        support.write_bars(folder, embedded.shuffled(bars.rows(len(bars) - 2_500, len(bars)), number), symbol)
    return folder


def _run(folder: Path, config: Path) -> None:
    """Run the command and print how long each step took, as its lines come."""
    environment = {**os.environ, "LOCKSTEP_DB": f"sqlite:///{folder / 'experiments.db'}"}
    command = [sys.executable, str(ROOT / "scripts/pipeline.py"), "run", "--config", str(config)]
    begun = before = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            now = time.perf_counter()
            print(f"  {now - before:6.1f} s  {line.rstrip()}")
            before = now
    assert process.returncode == 0, process.returncode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"  {time.perf_counter() - begun:6.1f} s  in all; of the processor so far "
        f"{used.ru_utime + used.ru_stime:.1f} s"
    )


if __name__ == "__main__":
    for each in night():
        print(f"{each.what}: {each.value:.1f} {each.unit}, promised {each.promise:g}; {each.note}")
