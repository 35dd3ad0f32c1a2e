"""The worker on noise, where it must release nothing, and on COMP, where there is something to be learned."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.models.store import ModelStore
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.zoo.journal import TESTED, steps_of
from research.zoo.learning import LearningBars
from research.zoo.report_data import report_data
from research.zoo.settings import WorkerSettings
from research.zoo.worker import MLBackgroundWorker, WorkerReport
from research.zoo.zoo import ModelZoo, utc_now

STEPS = 12
_COMP = SeriesKey("COMP", DAILY)
_RATE = 0.05
_FEATURES = (
    "ibs", "rsi_2", "ret_5", "zscore_20", "parkinson_20_252", "vol_ratio_5_50", "range_atr_14", "drift_20",
)  # fmt: skip
_TASKS = ("volatility", "direction")


def noise(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Let workers improve models on bars whose moves and ranges are drawn independently of each other.

    Every session begins with a ledger of its own, so that its first attempt has the first level, and attempts
    whatever is better out of fold. Beside it the naive rule: release what has a smaller loss on the tail.
    """
    history = load_history("COMP", start="2003-01-02", end="2009-12-31")
    released = naive = attempts = 0
    for number in range(count):
        drawn = _drawn(history, np.random.default_rng((seed, number)))
        settings = WorkerSettings(
            symbol="COMP", task=_TASKS[number % 2], steps=STEPS, cpu_seconds=1e6, seed=seed + number,
            power=0.0, features=_FEATURES,
            estimators=("hist_gradient_boosting", "logistic"),
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            report, tests, _ = _run(settings, Path(folder), lambda drawn=drawn: drawn)
        released += bool(report.released)
        attempts += report.attempts
        naive += any(each["loss"] < each["champion_loss"] for each in tests)
    most = int(binom.ppf(0.99, count, _RATE))
    found = {
        "sessions": count, "steps": STEPS, "attempts": attempts, "sessions that release": released,
        "at most, of a rate of 5 %": most, "sessions that release by the naive rule": naive,
    }  # fmt: skip
    return found, released <= most < naive


def on_comp(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Let workers of several seeds improve the volatility of COMP, each in 30 steps of a fresh zoo.

    The hold-out is the third of the bars after training, which no worker reads.
    """
    rows = []
    for number in range(count):
        settings = WorkerSettings(symbol="COMP", seed=seed + number)
        with tempfile.TemporaryDirectory() as folder:
            begun = time.process_time()
            report, _, zoo = _run(settings, Path(folder), None)
            spent = time.process_time() - begun
            first, last = (_later(zoo, version, settings) for version in ("v1", report.champion))
        rows.append({
            "seed": settings.seed, "releases": len(report.released), "attempts": report.attempts,
            "steps": report.steps, "CPU seconds": round(spent, 1), "hold-out loss of v1": first[0],
            "of the last": last[0], "of the factor score": last[1],
        })  # fmt: skip
        print(rows[-1], flush=True)
    three = sum(each["releases"] >= 3 and each["CPU seconds"] <= 60.0 for each in rows)
    better = sum(each["of the last"] < each["hold-out loss of v1"] for each in rows)
    found = {
        "seeds": count, "sessions": rows, "with three releases or more in 60 s of CPU": three,
        "better than v1 on the hold-out": better,
        "better than the factor score there": sum(
            each["of the last"] < each["of the factor score"] for each in rows
        ),
    }  # fmt: skip
    return found, three == better == count


def _run(
    settings: WorkerSettings, folder: Path, load: Callable[[], LearningBars] | None
) -> tuple[WorkerReport, list[dict[str, Any]], ModelZoo]:
    ledger = Ledger(Database.open(f"sqlite:///{folder / 'trials.db'}"))
    zoo = ModelZoo(store=ModelStore(folder / "store"), ledger=ledger)
    report = MLBackgroundWorker(zoo=zoo, settings=settings, load=load).once()
    return report, [each for _, kind, each in steps_of(ledger, report.run) if kind == TESTED], zoo


def _later(zoo: ModelZoo, version: str, settings: WorkerSettings) -> tuple[float, float]:
    """Return the mean losses of a version and of the factor score on the bars after its training."""
    found = report_data(
        zoo.store, zoo.ledger, settings.symbol, settings.name, version, hold_out=True, now=utc_now()
    )
    assert found.hold_out is not None
    losses = (found.hold_out.found.loss, found.hold_out.factor.loss)
    return round(float(losses[0].mean()), 5), round(float(losses[1].mean()), 5)


def _drawn(history: History, random: np.random.Generator) -> LearningBars:
    whole = history.series(_COMP)
    close = 1_000.0 * np.exp(np.cumsum(random.normal(0.0, 0.01, len(whole.end))))
    opened = np.concatenate([close[:1], close[:-1]])
    above, below = random.exponential(0.004, (2, len(close)))
    high, low = np.maximum(opened, close) * (1 + above), np.minimum(opened, close) * (1 - below)
    drawn = replace(whole, open=opened, high=high, low=low, close=close)
    bars = History(bars={_COMP: drawn}, markets=history.markets)
    return LearningBars.of(bars, _COMP, DateRange.of("2005-01-03", "2008-12-31"))
