"""A desk for tests: small models on the embedded indices, and an engine over parts that live in memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline

from lockstep.errors import ModelError
from lockstep.features.feature_registry import default_registry
from lockstep.live.engine import Engine
from lockstep.live.events import Event
from lockstep.live.feeds.replay import ReplayFeed
from lockstep.live.feeds.source import InboxSource, Known
from lockstep.live.feeds.synchroniser import Synchroniser
from lockstep.live.journal.rows import StoredSet, stored_set
from lockstep.live.messages import Arrival, Epoch, LaneState, SetRecord, Values, Wanted
from lockstep.live.plausible import Bands, Plausibility
from lockstep.live.risk.gateway import Gateway
from lockstep.live.risk.limits import Collar, Limits
from lockstep.live.risk.switches import Switches
from lockstep.live.setup import Setup
from lockstep.live.traded import TradedModel
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.market.timetable import Timetable
from lockstep.models.bundle import Bundle, golden_vectors
from lockstep.strategy.config import FixedSize, RiskSize
from lockstep.strategy.families.ibs import IbsConfig
from research.backtest.run import context_keys

MODEL_IDS = ("ibs", "rsi_2", "zscore_20")
CONFIG = IbsConfig.model_validate(
    {
        "name": "desk",
        "direction": "both",
        "entry": [0.0, 0.35],
        "exit": [0.7, 1.0],
        "short_entry": [0.75, 1.0],
        "short_exit": [0.0, 0.3],
        "stop": {"percent": 1.0},
        "filters": [{"feature": "pair_zscore_20", "min": -3.0, "max": 3.0}],
    }
)
OPEN_LIMITS = Limits(
    max_contracts=100,
    max_total_contracts=1_000,
    max_orders_per_day=1_000,
    max_daily_loss=1e9,
    collar=Collar(percent=50.0),
    stale_seconds=1e9,
)


@functools.cache
def history(last: int = 1_000) -> History:
    """Return bars of COMP and SPX since 2008."""
    keys = context_keys(CONFIG, load_markets(), "COMP")
    loaded = load_history("COMP", timeframe=DAILY, context=keys, start="2008-01-02")
    return replace(loaded, bars={key: bars.rows(0, last) for key, bars in loaded.bars.items()})


@functools.cache
def load_markets() -> Any:
    """Return the market of every declared symbol."""
    from lockstep.market.config import load_instruments

    return load_instruments().markets


@functools.cache
def bundle(
    symbol: str = "COMP", *, seed: int = 0, threshold: float = 0.5, version: str = "v1",
    ids: tuple[str, ...] = MODEL_IDS, size: FixedSize | RiskSize = CONFIG.size,
) -> Bundle:  # fmt: skip
    """Return a bundle whose forest of eight trees knows nothing; its SHA-256 is made of its arguments."""
    random = np.random.default_rng(seed)
    features, target = random.normal(size=(200, len(ids))), random.integers(0, 2, 200)
    forest = RandomForestClassifier(n_estimators=8, max_depth=4, random_state=seed, n_jobs=1)
    pipeline = Pipeline([("model", forest)]).fit(features, target)
    registry = default_registry()
    base = SeriesKey(symbol, CONFIG.bars)
    stamps = history().bars[SeriesKey("COMP", DAILY)].end[[300, 400]]
    config = CONFIG.model_copy(update={"size": size})
    return Bundle(
        symbol=symbol,
        pipeline=pipeline,
        feature_ids=ids,
        fingerprints={each: registry.fingerprint(each) for each in ids},
        strategy={
            "family": "IbsConfig",
            "config": config.model_dump(mode="json"),
            "config_hash": config.config_hash,
        },
        threshold=threshold,
        training={},
        metrics={},
        golden=golden_vectors(history(), base, ids, pipeline, stamps, CONFIG.max_age.limits),
        sha256=f"{symbol}-{seed}-{threshold}-{version}",
        version=version,
    )


@functools.cache
def bare_bundle(symbol: str = "COMP", *, version: str = "v1") -> Bundle:
    """Return a bundle of the same strategy without a model."""
    registry, ids = default_registry(), CONFIG.feature_ids
    stamps = history().bars[SeriesKey("COMP", DAILY)].end[[300, 400]]
    base = SeriesKey(symbol, CONFIG.bars)
    return Bundle(
        symbol=symbol,
        target="",
        pipeline=None,
        feature_ids=ids,
        fingerprints={each: registry.fingerprint(each) for each in ids},
        strategy={
            "family": "IbsConfig",
            "config": CONFIG.model_dump(mode="json"),
            "config_hash": CONFIG.config_hash,
        },
        threshold=None,
        training={},
        metrics={},
        golden=golden_vectors(history(), base, ids, None, stamps, CONFIG.max_age.limits),
        sha256=f"{symbol}-bare-{version}",
        version=version,
    )


def bare(symbol: str = "COMP", **arguments: Any) -> TradedModel:
    """Return a bundle without a model as the desk trades it."""
    return TradedModel.of(bare_bundle(symbol, **arguments))


def model(symbol: str = "COMP", **arguments: Any) -> TradedModel:
    """Return a bundle as the desk trades it."""
    return TradedModel.of(bundle(symbol, **arguments))


@dataclass
class MemoryJournal:
    """A journal in a list."""

    rows: list[SetRecord | Event] = field(default_factory=list)

    def append_set(self, record: SetRecord) -> int:
        self.rows.append(replace(record, sequence=len(self.rows) + 1))
        return len(self.rows)

    def append(self, *events: Event) -> tuple[int, ...]:
        self.rows += events
        return tuple(range(len(self.rows) - len(events), len(self.rows)))

    def recorded(self, epoch: int) -> Iterator[StoredSet | Event]:
        for row in tuple(self.rows):
            yield stored_set(row) if isinstance(row, SetRecord) else row

    @property
    def sets(self) -> list[SetRecord]:
        return [row for row in self.rows if isinstance(row, SetRecord)]

    @property
    def events(self) -> list[Event]:
        return [row for row in self.rows if isinstance(row, Event)]


@dataclass
class FakeOutside:
    """A world whose manifest, operator and HALT a test writes by hand."""

    models: dict[str, TradedModel] = field(default_factory=dict)
    production: dict[str, tuple[str, str]] = field(default_factory=dict)
    queue: list[Event] = field(default_factory=list)
    halt: str | None = None
    on_look: Callable[[], None] = lambda: None

    def wanted(self) -> Mapping[str, Wanted]:
        self.on_look()
        return {symbol: Wanted(*each) for symbol, each in self.production.items()}

    def model(self, symbol: str, sha256: str) -> TradedModel:
        if sha256 not in self.models:
            raise ModelError(f"{symbol} {sha256}: not in the store")
        return self.models[sha256]

    def commands(self) -> Sequence[Event]:
        return tuple(self.queue)

    def done(self, events: Sequence[Event]) -> None:
        self.queue = [each for each in self.queue if each not in events]

    def halted(self) -> str | None:
        return self.halt


@dataclass
class Listener:
    """An observer that keeps what it was told."""

    sets: list[tuple[SetRecord, bool]] = field(default_factory=list)
    events: list[tuple[Event, bool]] = field(default_factory=list)

    def decided(self, record: SetRecord, *, replayed: bool) -> None:
        self.sets.append((record, replayed))

    def happened(self, event: Event, *, replayed: bool) -> None:
        self.events.append((event, replayed))

    def beat(self, *, now: int) -> None:
        pass


def first_epoch(
    models: Mapping[str, TradedModel], bars: History, warm: int, *,
    states: Mapping[str, LaneState] | None = None, mode: Any = "paper",
) -> Epoch:  # fmt: skip
    """Return an epoch whose windows are warmed by the first `warm` bars of every series."""
    return Epoch(
        number=1,
        mode=mode,
        reason="test",
        started=0,
        hashes={},
        bundles={symbol: each.bundle.sha256 for symbol, each in models.items()},
        warmup={key: kept(bars, key)[:warm] for key in bars.bars},
        states=states or {},
    )


def kept(bars: History, key: SeriesKey) -> tuple[tuple[int, Values], ...]:
    """Return all bars of a series as the journal keeps them."""
    series = bars.bars[key]
    values = zip(*(column.tolist() for column in series.columns().values()), strict=True)
    return tuple(zip(series.end.tolist(), values, strict=True))


class Undisturbed(InboxSource):
    """A source that results do not wake, so that what happens between two sets does not depend on threads."""

    def wake(self) -> None:
        """Do nothing."""


def source(
    bars: History,
    traded: frozenset[SeriesKey],
    *,
    arrivals: Sequence[Arrival] | None = None,
    band: Plausibility | None = None,
) -> InboxSource:
    """Return the bars of a history, or other arrivals of its series, as a live source at full speed."""
    timetable = Timetable({key: bars.markets[key.symbol].session for key in bars.bars})

    def synchronise(known: Known) -> Synchroniser:
        return Synchroniser(timetable, grace_ns=0, traded=traded, known=known, bands=Bands(band))

    feed = ReplayFeed.of(bars) if arrivals is None else ReplayFeed(arrivals, bars.bars)
    return Undisturbed([feed], synchronise)


def switches(folder: Path) -> Switches:
    """Return switches that are off."""
    return Switches(kill_file=folder / "KILL", halt_file=folder / "HALT")


def engine(
    folder: Path,
    models: Mapping[str, TradedModel],
    journal: Any,
    bars: History,
    *,
    warm: int = 400,
    outside: FakeOutside | None = None,
    listener: Any = None,
    limits: Limits = OPEN_LIMITS,
    arrivals: Sequence[Arrival] | None = None,
    band: Plausibility | None = None,
    **setup: Any,
) -> Engine:
    """Return an engine over a journal and the bars of a history."""
    epoch = setup.pop("epoch", None) or first_epoch(models, bars, warm)
    world = outside or FakeOutside()
    world.models |= {each.bundle.sha256: each for each in models.values()}
    traded = frozenset(each.key for each in models.values())
    feeds = setup.pop("feeds", None) or source(bars, traded, arrivals=arrivals, band=band)
    markets = {name: bars.markets[traded_symbol(name)].named(name) for name in models}
    return Engine(
        Setup(
            epoch=epoch,
            models=models,
            markets={**bars.markets, **markets},
            journal=journal,
            source=feeds,
            gateway=Gateway(limits=limits, switches=switches(folder), mode=epoch.mode, markets=markets),
            outside=world,
            observer=listener or Listener(),
            now=feeds.now,
            policies=setup.pop("policies", {}),
            memory=setup.pop("memory", 500),
            **setup,
        )
    )


def span_after(bars: History, key: SeriesKey, warm: int) -> DateRange:
    """Return the span of sessions that follow the warm-up."""
    dates = bars.markets[key.symbol].session.dates(bars.bars[key].end, key.timeframe)
    return DateRange.of(str(dates[warm]))
