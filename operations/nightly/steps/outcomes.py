"""What became of the desk's signals of the last month, by lane; the monitor makes its pass for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.monitoring.outcomes import SignalOutcome
from operations.nightly.context import NightContext, NightStep, write_json
from operations.watch.cli import pass_once
from operations.watch.config import MonitoringConfig
from operations.watch.database import only_monitor
from operations.watch.monitor import Monitor
from operations.watch.report import read_report
from research.backtest.folder import finite
from research.pipeline.graph import Inputs

DAYS = 30


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: the night, the desk that is watched, and its journal."""
    watched = context.config.monitoring
    return [context.night, None if watched is None else [str(watched), context.world.digest]]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Bring the monitor up to date, and write the outcomes of the last month by lane."""
    if context.config.monitoring is None:
        write_json(folder, "outcomes", {"lanes": []})
        return "no desk is watched"
    settings = MonitoringConfig.load(context.config.monitoring)
    monitor = Monitor(settings)
    with only_monitor(settings.database):
        pass_once(monitor, settings)
    since = date.fromisoformat(context.night) - timedelta(days=DAYS)
    report = read_report(settings.database)
    lanes = list(by_lane(report.outcomes, since))
    write_json(folder, "outcomes", {"lanes": lanes, "troubles": list(report.lines())})
    signals = sum(each["signals"] for each in lanes)
    return f"{signals:,} signals of the last {DAYS} days, in {len(lanes)} lanes"


def by_lane(outcomes: Sequence[SignalOutcome], since: date) -> Iterator[dict[str, Any]]:
    """Yield, by lane, what the signals since a day came to.

    Hit rate, Brier score and P&L are of the signals that were taken and have ended; without a model there is
    no Brier score. A share or score of nothing is None.
    """
    first = int(np.datetime64(since, "ns").astype(np.int64))
    recent = [each for each in outcomes if each.decision >= first]
    for lane in sorted({each.lane for each in recent}):
        own = [each for each in recent if each.lane == lane]
        ended = [each for each in own if each.state == "taken"]
        scored = [each for each in ended if math.isfinite(each.probability)]
        squares = [(each.probability - each.won) ** 2 for each in scored]
        yield {
            "lane": lane, "signals": len(own), "taken": len(ended),
            "vetoed": sum(each.state == "vetoed" for each in own),
            **finite({
                "hit_rate": float(np.mean([each.won for each in ended])) if ended else math.nan,
                "brier": float(np.mean(squares)) if squares else math.nan,
                "pnl": math.fsum(each.pnl for each in ended) if ended else math.nan,
            }),
        }  # fmt: skip


STEP: NightStep = NightStep(
    name="outcomes", module=__name__, needs=("ingest",), ingredients=ingredients, work=work
)
