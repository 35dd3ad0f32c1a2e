"""One run over five million minutes with each engine, as a user does it: from the cached file to the page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.measure import Measured
from benchmarks.minutes import BARS, FOLDER, SEED, SYMBOL, minute_bars, write_minutes
from lockstep.market.bars import Bars

STRATEGY = """
name: minutes
timeframe: 1min
direction: both
entry: [0.0, 0.1]
exit: [0.9, 1.0]
short_entry: [0.9, 1.0]
short_exit: [0.0, 0.1]
filters:
  - {feature: rsi_14, max: 25.0, side: long}
  - {feature: rsi_14, min: 75.0, side: short}
stop: {atr: 6.0, feature: atr_14}
max_bars: 120
auto_close: "16:30"
capital: 1000000
"""

_COMMAND = """
import sys
from pathlib import Path
from research.backtest_runner import app
app(sys.argv[1:], standalone_mode=False)
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
_KIBIBYTES = 1024


@dataclass(frozen=True, kw_only=True)
class EngineRun:
    """One run of the command. seconds: wall time; work: of all processors; peak: resident memory, MiB."""

    bars: int
    seconds: float
    work: float
    peak: float
    folder: Path

    def files(self) -> Mapping[str, bytes]:
        """Return the files of the run folder; of the provenance all but the engine."""
        found = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        content = json.loads(found["provenance.json"])
        content.pop("engine")
        return found | {"provenance.json": json.dumps(content).encode()}


@dataclass(frozen=True, kw_only=True)
class Minutes:
    """A file of minute bars in a folder, with a cache and a ledger of its own; kernels are compiled."""

    folder: Path
    bars: Bars

    @classmethod
    def prepared(cls, folder: Path, count: int, seed: int) -> Minutes:
        """Write the file, and run over its first sessions: that reads it, keeps it and compiles."""
        found = cls(folder=folder, bars=minute_bars(count, seed=seed))
        write_minutes(folder / FOLDER / f"{SYMBOL}_bt.csv", found.bars)
        (folder / "strategy.yaml").write_text(STRATEGY)
        for engine in ("compiled", "backtrader"):
            found.run(engine, bars=2_000)
        return found

    def run(self, engine: str, *, bars: int | None = None) -> EngineRun:
        """Run the command over about the first so many bars (None: all), in a process of its own."""
        out = self.folder / f"{engine}-{bars}"
        dates = (
            [] if bars is None else ["--end", str(self.bars.end[bars - 1].astype("M8[ns]").astype("M8[D]"))]
        )
        command = [
            sys.executable, "-c", _COMMAND, "--symbol", SYMBOL, "--data-dir", str(self.folder / FOLDER),
            "--strategy", str(self.folder / "strategy.yaml"), "--engine", engine, "--out", str(out), *dates,
        ]  # fmt: skip
        environment = {
            **os.environ,
            "LOCKSTEP_CACHE_DIR": str(self.folder / "cache"),
            "LOCKSTEP_DB": f"sqlite:///{self.folder / 'ledger.db'}",
        }
        before, began = _children(), time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        seconds, work = time.perf_counter() - began, _children() - before
        (folder,) = out.iterdir()
        traded = json.loads((folder / "provenance.json").read_text())["bars"]
        peak = float(done.stdout.split()[-1]) / _KIBIBYTES
        return EngineRun(bars=traded, seconds=seconds, work=work, peak=peak, folder=folder)


def _children() -> float:
    """Return the processor time of all processes that this one waited for."""
    times = os.times()
    return times.children_user + times.children_system


_TIMES, _LEAST, _MOST_MEMORY = 3, 20.0, 3_072.0


def long_run() -> Iterator[Measured]:
    """Measure the run, and Backtrader's from two stretches of it; the soak `engines` does it in full."""
    with tempfile.TemporaryDirectory() as name:
        minutes = Minutes.prepared(Path(name), BARS, SEED)
        compiled = min((minutes.run("compiled") for _ in range(_TIMES)), key=lambda leg: leg.seconds)
        few, some = (minutes.run("backtrader", bars=count) for count in (50_000, 200_000))
    pace = (some.seconds - few.seconds) / (some.bars - few.bars)
    whole = few.seconds + pace * (compiled.bars - few.bars)
    yield Measured(
        what=f"{BARS:,} minutes from the cached file to the tear sheet, Backtrader / compiled",
        value=whole / compiled.seconds,
        unit="x",
        promise=_LEAST,
        note=f"{compiled.seconds:.1f} s; Backtrader extrapolated from {some.bars:,} bars: {whole:.0f} s",
        more_is_better=True,
    )
    yield Measured(what="peak memory of that run", value=compiled.peak, unit="MiB", promise=_MOST_MEMORY)


def engines(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Run both engines over all of `count` minutes; what was measured, and whether it is as promised."""
    with tempfile.TemporaryDirectory() as name:
        minutes = Minutes.prepared(Path(name), count, seed)
        compiled = min((minutes.run("compiled") for _ in range(_TIMES)), key=lambda leg: leg.seconds)
        referee = minutes.run("backtrader")
        files, other = compiled.files(), referee.files()
        trades = pq.read_metadata(compiled.folder / "trades.parquet").num_rows
    found = {
        "trades": trades,
        "folders": "the same bytes" if files == other else "not the same",
        "times faster": round(referee.seconds / compiled.seconds, 1),
        **{
            engine: {
                "seconds": round(leg.seconds, 1),
                "processor seconds": round(leg.work, 1),
                "peak memory, MiB": round(leg.peak),
            }
            for engine, leg in (("compiled", compiled), ("backtrader", referee))
        },
    }
    ratio = referee.seconds / compiled.seconds
    return found, files == other and ratio >= _LEAST and compiled.peak < _MOST_MEMORY
