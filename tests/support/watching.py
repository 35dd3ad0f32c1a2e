"""A desk on paper that is watched: store, journal, reference and configuration in one folder."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lockstep.errors import AlertFailed
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import default_registry
from lockstep.live.traded import TradedModel
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.models.store import ModelStore
from lockstep.monitoring.alerts import Alert
from lockstep.monitoring.feature_history import FeatureHistory
from lockstep.monitoring.frozen import FrozenReference
from lockstep.monitoring.reference_outcomes import monitoring_reference
from operations.watch.config import MonitoringConfig
from operations.watch.database import MonitorDatabase
from operations.watch.monitor import Monitor, MonitorPass
from operations.watch.report import MonitorReport, read_report
from support import desks, papers
from support.references import attach_reference, frozen_reference, reference_outcomes


@dataclass
class WatchedDesk:
    """A folder with everything; `now` is the clock of its monitor."""

    folder: Path
    store: ModelStore
    now: int = 2_000_000_000_000_000_000

    @property
    def config(self) -> Path:
        return self.folder / "monitoring.yml"

    @property
    def database(self) -> Path:
        return self.folder / "monitor.db"

    @property
    def journal(self) -> Path:
        return self.folder / "live.db"

    def models(self) -> list[TradedModel]:
        return papers.models(self.store)

    def run(self, *, rebuild: bool = False) -> MonitorPass:
        """Let the monitor pass once, a second later than before."""
        self.now += 1_000_000_000
        monitor = Monitor(MonitoringConfig.load(self.config))
        with MonitorDatabase.open(self.database) as database:
            return (monitor.rebuild if rebuild else monitor.run)(database, now=self.now)

    def staying(self) -> Callable[[], MonitorPass]:
        """Return the pass of one monitor that keeps running."""
        monitor = Monitor(MonitoringConfig.load(self.config))

        def once_more() -> MonitorPass:
            self.now += 1_000_000_000
            with MonitorDatabase.open(self.database) as database:
                return monitor.run(database, now=self.now)

        return once_more

    def report(self) -> MonitorReport:
        return read_report(self.database)

    def digest(self) -> str:
        with MonitorDatabase.open(self.database, readonly=True) as database:
            return database.digest()

    def rows(self, table: str, where: str = "") -> list[dict[str, Any]]:
        with MonitorDatabase.open(self.database, readonly=True) as database:
            return database.rows(table, where)


def watched_desk(folder: Path, *seeds: int, reference: bool = True, **model: Any) -> WatchedDesk:
    """Return a desk that has traded nothing yet; each version has a reference."""
    folder.mkdir(parents=True, exist_ok=True)
    store = papers.store(folder / "store", *seeds, **model)
    papers.config(folder)
    desk = WatchedDesk(folder, store)
    desk.config.write_text(yaml.safe_dump({"desk": str(folder / "live.yml"), "database": str(desk.database)}))
    if reference:
        first = int(desks.history(papers.WARM + 1).bars[papers.COMP].end[-1])
        for each in desk.models():
            found = reference_of(each, before=first)
            attach_reference(store, "COMP", each.bundle.version, found)
    return desk


def attached(folder: Path, lanes: dict[str, int]) -> WatchedDesk:
    """Return the desk of a folder with live.yml and store, watched; v1 of each symbol has a reference."""
    desk = WatchedDesk(folder, ModelStore(folder / "store"))
    desk.config.write_text(yaml.safe_dump({"desk": str(folder / "live.yml"), "database": str(desk.database)}))
    for symbol in lanes:
        bundle = desk.store.manifest().entry(symbol, "v1").sha256
        found = frozen_reference(
            bundle,
            outcomes=monitoring_reference(reference_outcomes(400), bundle=bundle),
            features=None,
            probabilities=None,
        )
        attach_reference(desk.store, symbol, "v1", found)
    return desk


def reference_of(model: TradedModel, *, before: int, **outcomes: Any) -> FrozenReference:
    """Return a reference of a model: made-up outcomes, real features of all sessions before a stamp."""
    bundle = model.bundle.sha256
    return frozen_reference(
        bundle,
        outcomes=monitoring_reference(reference_outcomes(400, **outcomes), bundle=bundle),
        features=_features(model.plan.ids, before),
        probabilities=None,
    )


@functools.cache
def _features(ids: tuple[str, ...], before: int) -> FeatureHistory:
    registry = default_registry()
    plan = registry.plan(ids, papers.COMP)
    history = load_history("COMP", timeframe=DAILY, context=(papers.SPX,))
    batch = BatchFeatures(plan, history)
    rows = int(np.searchsorted(batch.end, before))
    known = ~np.isnan(batch.matrix[:rows]).any(axis=1)
    ranges = [registry.parse(each) for each in ids]
    dates = history.markets["COMP"].session.dates(batch.end[:rows], DAILY)
    return FeatureHistory(
        ids=ids, sessions=dates[known], values=batch.matrix[:rows][known],
        low=[each.low for each in ranges], high=[each.high for each in ranges],
    )  # fmt: skip


class ChannelSink:
    """Keeps what it is sent; fails while it is down."""

    name = "channel"

    def __init__(self) -> None:
        self.sent: list[Alert] = []
        self.down = False

    def send(self, alert: Alert) -> None:
        if self.down:
            raise AlertFailed("no answer")
        self.sent.append(alert)
