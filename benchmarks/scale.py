"""What a night costs by its parts, on one worker and on two: per bar and variant, per row, per task.

`python -m benchmarks.scale` measures and prints; `docs/scale.md` says what follows for many cores. Workers
are processes of a Dask cluster on this machine, of one thread each, as they would be on others.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import ROOT, of_tests
from lockstep.identity import TRIALS, code_hash
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.strategy.families.ibs import IbsConfig
from research.experiments.execution import Lab
from research.ledger.database import Database
from research.ledger.shares import measured as shares
from research.sweep.run import sweep
from research.training.train import train

RESULT = ROOT / "benchmarks" / "results" / "scale.json"
_VARIANTS, _EMPTY_TASKS, _ROUNDS = 20_000, 400, 3


def grid(count: int) -> list[IbsConfig]:
    """Return `count` variants."""
    random = np.random.default_rng(1)
    low, high = random.uniform(0.02, 0.45, count), random.uniform(0.5, 0.98, count)
    days = random.integers(2, 16, count)
    return [
        IbsConfig(name="scale", entry=(0.0, a), exit=(b, 1.0), max_bars=c)
        for a, b, c in zip(low.round(6).tolist(), high.round(6).tolist(), days.tolist(), strict=True)
    ]


def nothing(number: int) -> int:
    """Do nothing, elsewhere: what is left is the way there and back."""
    return number


def best(function: Callable[[], object], rounds: int = _ROUNDS) -> float:
    """Return the least wall time of some calls, after one that is not counted."""
    function()
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        function()
        found.append(time.perf_counter() - begun)
    return min(found)


def measured(workers: int, configs: Sequence[IbsConfig], history: History) -> dict[str, float]:
    """Return what the parts cost on a cluster of some workers."""
    import distributed
    import joblib

    from research.sweep.cluster import scheduler_at

    bars = len(history.series(SeriesKey("COMP", DAILY)))
    dataset, config = of_tests("support.training").invented(), of_tests("support.training").invented_config()
    with distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        address = cluster.scheduler_address

        def tasks() -> None:
            with scheduler_at(address) as scheduler:
                list(scheduler.run(joblib.delayed(nothing)(number) for number in range(_EMPTY_TASKS)))

        swept = best(lambda: sweep(configs, history, "COMP", cluster=address))
        trained = best(lambda: train(config, dataset, seed=1, cluster=address), 1)
        return {
            "sweep, s": swept,
            "ns a bar and variant": 1e9 * swept / (bars * len(configs)),
            "training of 12 steps, s": trained,
            "ms a task": 1e3 * best(tasks) / _EMPTY_TASKS,
        }


def stored() -> dict[str, float]:
    """Return what the runs of an experiment cost beside their loops: by the clock and in bytes, each."""
    support = of_tests("support.experiments")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "experiments.db"
        lab = Lab(database=Database.open(f"sqlite:///{path}"))
        values = {
            "entry.high": tuple(np.linspace(0.05, 0.45, 41).round(3).tolist()),
            "exit.low": tuple(np.linspace(0.5, 0.9, 41).round(3).tolist()),
            "max_bars": (3, 5, 8, 10, 12),
        }
        with shares() as parts:
            record = lab.run(support.plan(parameters=values))
        names = ("names", "statistics", "database")
        return {
            **{f"{name}, microseconds a run": 1e6 * parts.passed[name] / record.runs for name in names},
            "bytes a run": path.stat().st_size / record.runs,
        }


def main() -> None:
    """Measure, print, and write the result with the hash of the code."""
    history = load_history("COMP", timeframe=DAILY)
    configs = grid(_VARIANTS)
    threads = best(lambda: sweep(configs, history, "COMP", jobs=1))
    found: dict[str, Any] = {
        "code": code_hash(TRIALS),
        "variants": _VARIANTS,
        "sweep on one thread of this process, s": threads,
        "one worker": measured(1, configs, history),
        "two workers": measured(2, configs, history),
        "beside the loops": stored(),
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
