"""What became of the desk's signals of the last month, by lane; the monitor makes its pass for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import DataError, MonitorAtWork, MonitorError
from lockstep.monitoring.outcomes import SignalOutcome
from operations.nightly.context import NightContext, NightStep, write_json
from operations.watch.cli import passed
from operations.watch.config import MonitoringConfig
from operations.watch.database import only_monitor
from operations.watch.monitor import Monitor
from operations.watch.report import read_report
from research.backtest.folder import finite
from research.pipeline.graph import Inputs

DAYS = 30
_WAITING = ("open", "unsettled")


def ingredients(context: NightContext, read: Inputs) -> Any:
    """Return what the step reads from outside: the night, and the desk that is watched as others left it."""
    watched = context.config.monitoring
    return [context.night, None if watched is None else [str(watched), context.world.desk]]


def work(context: NightContext, read: Inputs, folder: Path) -> str:
    """Bring the monitor up to date, and write the outcomes of the last month by lane and together."""
    if context.config.monitoring is None:
        write_json(folder, "outcomes", {"lanes": [], "total": None})
        return "no desk is watched"
    settings = MonitoringConfig.load(context.config.monitoring)
    note, troubles = _pass(context, settings)
    since = date.fromisoformat(context.night) - timedelta(days=DAYS)
    try:
        report = read_report(settings.database)
        recent, lines = since_day(report.outcomes, since), list(report.lines())
    except MonitorError:
        if not troubles:
            raise
        recent, lines = [], []
    lanes = list(by_lane(recent))
    content = {"lanes": lanes, "total": scored(recent), "troubles": [*troubles, *lines]}
    write_json(folder, "outcomes", content)
    return f"{len(recent):,} signals of the last {DAYS} days, in {len(lanes)} lanes{note}"


def _pass(context: NightContext, settings: MonitoringConfig) -> tuple[str, list[str]]:
    """Let the monitor pass; return what the sentence adds, and what went wrong, a line each.

    A monitor that keeps running is left alone. Bars of the desk that cannot be read are one line: what the
    monitor knew before is shown, and nothing else of the night depends on them.
    """
    stamp = int(context.now().timestamp()) * 1_000_000_000
    try:
        with only_monitor(settings.database):
            return "", passed(Monitor(settings), settings, now=stamp)[2]
    except MonitorAtWork:
        return "; another process keeps the monitor up to date", []
    except DataError as error:
        return "; the monitor could not go on", [f"the monitor: {error}"]


def since_day(outcomes: Sequence[SignalOutcome], since: date) -> list[SignalOutcome]:
    """Return the signals that were decided since a day, UTC."""
    first = int(np.datetime64(since, "ns").astype(np.int64))
    return [each for each in outcomes if each.decision >= first]


def by_lane(recent: Sequence[SignalOutcome]) -> Iterator[dict[str, Any]]:
    """Yield, by lane, what signals came to, see `scored`."""
    for lane in sorted({each.lane for each in recent}):
        yield {"lane": lane, **scored([each for each in recent if each.lane == lane])}


def scored(signals: Sequence[SignalOutcome]) -> dict[str, Any]:
    """Return counts and scores of signals.

    Hit rate, Brier score and P&L are of the signals that were taken and have ended; without a model there is
    no Brier score. `waiting`: they have no outcome yet. A share or score of nothing is None.
    """
    ended = [each for each in signals if each.state == "taken"]
    squares = [(each.probability - each.won) ** 2 for each in ended if math.isfinite(each.probability)]
    return {
        "signals": len(signals), "taken": len(ended),
        "vetoed": sum(each.state == "vetoed" for each in signals),
        "waiting": sum(each.state in _WAITING for each in signals),
        **finite({
            "hit_rate": float(np.mean([each.won for each in ended])) if ended else math.nan,
            "brier": float(np.mean(squares)) if squares else math.nan,
            "pnl": math.fsum(each.pnl for each in ended) if ended else math.nan,
        }),
    }  # fmt: skip


STEP: NightStep = NightStep(
    name="outcomes", module=__name__, needs=("ingest",), ingredients=ingredients, work=work
)
