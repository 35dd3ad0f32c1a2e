"""A whole night from the command to its page: four instruments, 100,000 variants each, and its second start.

Real futures where they are; else shuffled days of the embedded indices. The first night compiles what it
runs, as the one after an update does; the second finds that on the disk, as every other night. `python -m
benchmarks.nightly` prints what each step took, and writes `results/night.json`.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import ROOT, Measured, of_tests
from lockstep.identity import TRIALS, code_hash

SYMBOLS = ("ES", "NQ", "CL", "GC")
RESULT = ROOT / "benchmarks" / "results" / "night.json"
SEED = 0
LOAD = os.getloadavg()[0]
REAL = ROOT.parent / "shared/data/futures_daily"
SPLIT = {
    "train": ["2011-09-01", "2015-12-31"],
    "validation": ["2016-01-04", "2018-12-31"],
    "holdout": ["2019-01-02", "2020-08-31"],
}


def night() -> list[Measured]:
    """Return the wall time of the shipped spaces on four instruments, compiled anew and not, and again."""
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name) / "cache"
        (Path(name) / "cold").mkdir()
        (Path(name) / "warm").mkdir()
        cold = _run(Path(name) / "cold", _written(Path(name) / "cold"), cache)
        config = _written(Path(name) / "warm")
        warm = _run(Path(name) / "warm", config, cache)
        again = _run(Path(name) / "warm", config, cache)
        spaces = yaml.safe_load(config.read_text(encoding="utf-8"))["spaces"]
        variants = len(SYMBOLS) * sum(space["per_night"] for space in spaces)
    what = "real futures" if REAL.is_dir() else "shuffled days of embedded indices"
    found = {
        "seed": SEED, "code": code_hash(TRIALS), "variants": variants, "bars": what, "cores": os.cpu_count(),
        "load_before": round(LOAD, 2), "compiled_anew": cold, "compiled_before": warm, "nothing_new": again,
    }  # fmt: skip
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return [
        _promised(f"a night of {variants:,} variants, compiled anew", cold, 120.0, what),
        _promised(f"a night of {variants:,} variants", warm, 120.0, what),
        _promised("the same night again: nothing new", again, 3.0, ""),
    ]


def _promised(what: str, found: dict[str, Any], promise: float, note: str) -> Measured:
    return Measured(what=what, value=found["seconds"], unit="s", promise=promise, note=note)


def _written(folder: Path) -> Path:
    shipped = ROOT / "configs/pipeline"
    content: dict[str, Any] = yaml.safe_load((shipped / "nightly.yml").read_text(encoding="utf-8"))
    for space in content["spaces"]:
        space |= {"strategy": str(shipped / space["strategy"]), "split": SPLIT, "seed": SEED}
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


def _run(folder: Path, config: Path, cache: Path) -> dict[str, Any]:
    """Run the command; seconds in all and by step, as its lines come, and of the processor, 0.01 s each."""
    database = f"sqlite:///{folder / 'experiments.db'}"
    environment = {**os.environ, "LOCKSTEP_DB": database, "LOCKSTEP_CACHE_DIR": str(cache)}
    command = [sys.executable, str(ROOT / "scripts/pipeline.py"), "run", "--config", str(config)]
    steps: dict[str, float] = {}
    used_before, begun = _used(), time.perf_counter()
    before = begun
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            now = time.perf_counter()
            print(f"  {now - before:6.1f} s  {line.rstrip()}", flush=True)
            # The first line comes after imports and the look at what there is.
            name = line.partition(":")[0] if steps else "start and ingest"
            steps[name] = round(steps.get(name, 0.0) + now - before, 2)
            before = now
    seconds, used = time.perf_counter() - begun, _used() - used_before
    assert process.returncode == 0, process.returncode
    print(f"  {seconds:6.1f} s  in all; {used:.1f} s of the processor", flush=True)
    return {"seconds": round(seconds, 2), "processor": round(used, 2), "steps": steps}


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    for each in night():
        kept = "kept" if each.kept else "NOT KEPT"
        print(f"{each.what}: {each.value:.1f} {each.unit}, promised {each.promise:g}: {kept}; {each.note}")
