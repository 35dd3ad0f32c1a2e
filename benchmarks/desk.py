"""A desk to measure: four futures on hourly random walks, 40 features and a forest of 200 trees each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from benchmarks.workload import CONFIG, HOURLY, feature_ids, hourly_bars
from lockstep.features.feature_registry import default_registry
from lockstep.live.engine import Engine, Setup
from lockstep.live.events import Event
from lockstep.live.feeds.replay import ReplayFeed
from lockstep.live.feeds.source import InboxSource, Known
from lockstep.live.feeds.synchroniser import Synchroniser
from lockstep.live.journal import Journal
from lockstep.live.messages import Epoch, SetRecord, Wanted
from lockstep.live.risk.gateway import Gateway
from lockstep.live.risk.limits import Collar, Limits
from lockstep.live.risk.switches import Switches
from lockstep.live.traded import TradedModel
from lockstep.market.config import load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.market.timetable import Timetable
from lockstep.models.bundle import Bundle, golden_vectors

SYMBOLS = ("ES", "NQ", "RTY", "YM")
TREES = 200
WARM = 2_000
_OPEN = Limits(
    max_contracts=1e6,
    max_total_contracts=1e9,
    max_orders_per_day=10**6,
    max_daily_loss=1e12,
    collar=Collar(percent=1e6),
    stale_seconds=1e9,
)


def desk_history(bars: int, symbols: Sequence[str] = SYMBOLS) -> History:
    """Return walks of the symbols at the same stamps; each has its pair among them."""
    book = load_instruments()
    known = {
        SeriesKey(symbol, HOURLY): replace(hourly_bars(bars, seed=number), symbol=symbol)
        for number, symbol in enumerate(symbols)
    }
    return History(bars=known, markets=book.markets)


def desk_model(symbol: str, history: History) -> TradedModel:
    """Return a model whose forest learned noise, of the size that a desk would have."""
    ids = feature_ids()
    random = np.random.default_rng(1)
    forest = RandomForestClassifier(TREES, max_depth=8, min_samples_leaf=10, random_state=1, n_jobs=1)
    pipeline = Pipeline([("model", forest)])
    pipeline.fit(random.normal(size=(600, len(ids))), random.integers(0, 2, 600))
    registry, base = default_registry(), SeriesKey(symbol, HOURLY)
    config = CONFIG.replaced(features=())
    stamps = history.bars[base].end[[1_500, 1_600]]
    bundle = Bundle(
        symbol=symbol,
        pipeline=pipeline,
        feature_ids=ids,
        fingerprints={each: registry.fingerprint(each) for each in ids},
        strategy={
            "family": "IbsConfig",
            "config": config.model_dump(mode="json"),
            "config_hash": config.config_hash,
        },
        threshold=0.3,
        training={},
        metrics={},
        golden=golden_vectors(history, base, ids, pipeline, stamps, config.max_age.limits),
        sha256=symbol,
        version="v1",
    )
    return TradedModel.of(bundle)


class Stopwatch(InboxSource):
    """Notes when the bars of a set were taken from the inbox."""

    taken = 0.0

    def _offer_moment(self) -> None:
        self.taken = time.perf_counter()
        super()._offer_moment()


class TimedJournal:
    """A journal that notes, per set, seconds from the bars to the commit, and within the commit."""

    def __init__(self, journal: Journal, source: Stopwatch) -> None:
        self._journal = journal
        self._source = source
        self.decided: list[float] = []
        self.committed: list[float] = []
        self.recorded = journal.recorded
        self.append = journal.append

    def append_set(self, record: SetRecord) -> int:
        """Commit and note."""
        began = time.perf_counter()
        sequence = self._journal.append_set(record)
        self.decided.append(began - self._source.taken)
        self.committed.append(time.perf_counter() - began)
        return sequence


class Nothing:
    """An outside world in which nothing happens, and an observer that does not look."""

    def wanted(self) -> Mapping[str, Wanted]:
        """Return no versions."""
        return {}

    def model(self, symbol: str, sha256: str) -> TradedModel:
        """Never asked."""
        raise KeyError(sha256)

    def commands(self) -> Sequence[Event]:
        """Return no commands."""
        return ()

    def done(self, events: Sequence[Event]) -> None:
        """Nothing to do."""

    def halted(self) -> str | None:
        """Return that HALT is off."""
        return None

    def decided(self, record: SetRecord, *, replayed: bool) -> None:
        """Look away."""

    def happened(self, event: Event, *, replayed: bool) -> None:
        """Look away."""

    def beat(self, *, now: int) -> None:
        """Look away."""


def desk_engine(
    folder: Path, models: Mapping[str, TradedModel], history: History, journal: Journal
) -> tuple[Engine, TimedJournal]:
    """Return an engine over the real journal, at its newest epoch, with the stopwatch that it carries."""
    epoch = journal.newest_epoch()
    if epoch is None:
        first = _epoch(models, history)
        epoch = replace(first, number=journal.begin_epoch(first))
    sessions = {key: history.markets[key.symbol].session for key in history.bars}
    traded = frozenset(model.key for model in models.values())

    def synchronise(known: Known) -> Synchroniser:
        return Synchroniser(Timetable(sessions), grace_ns=0, traded=traded, known=known)

    source = Stopwatch([ReplayFeed.of(history)], synchronise)
    timed = TimedJournal(journal, source)
    switches = Switches(kill_file=folder / "KILL", halt_file=folder / "HALT")
    markets = {symbol: history.markets[symbol] for symbol in models}
    setup = Setup(
        epoch=epoch,
        models=models,
        markets=history.markets,
        journal=timed,
        source=source,
        gateway=Gateway(limits=_OPEN, switches=switches, mode="paper", markets=markets),
        outside=Nothing(),
        observer=Nothing(),
        now=source.now,
        policies={},
        memory=WARM,
    )
    return Engine(setup), timed


def _epoch(models: Mapping[str, TradedModel], history: History) -> Epoch:
    kept = {}
    for key, bars in history.bars.items():
        rows = bars.rows(0, WARM)
        values = zip(*(column.tolist() for column in rows.columns().values()), strict=True)
        kept[key] = tuple(zip(rows.end.tolist(), values, strict=True))
    return Epoch(
        number=0,
        mode="paper",
        reason="bench",
        started=0,
        hashes={},
        bundles={symbol: model.bundle.sha256 for symbol, model in models.items()},
        warmup=kept,
        states={},
    )
