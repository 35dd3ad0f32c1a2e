"""A strategy that trades without a model: its bundle, its record, and its registration as a version.

It enters the same slot of the same store as the veto of that instrument would, so that either can replace the
other: one version per instrument is in production, whether a model decides in it or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import EvidenceMissing, TrainingError, VerbRefused
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.floats import require_exact
from lockstep.identity import (
    RELEASING,
    checkout_root,
    code_hash,
    code_revision,
    json_digest,
    lock_hash,
    training_versions,
)
from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.families import load_families
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.sessions import Dates
from lockstep.models.bundle import WITHOUT_MODEL, Bundle, bundle_bytes
from lockstep.models.content import sha256_of
from lockstep.models.golden import GoldenVectors, golden_vectors
from lockstep.models.manifest import VETO, TrainingRecord
from lockstep.models.store import ModelStore
from lockstep.models.verbs import Change
from lockstep.strategy.bundled import bundled_strategy
from research.backtest.account import Account
from research.experiments.declaration import space_of_one
from research.experiments.evaluation import data_hash
from research.ledger.doors import introduce
from research.ledger.ledger import Ledger, Trials
from research.ledger.spaces import RELEASE
from research.ledger.tables import OK
from research.ledger.versions import promote_version
from research.sweep.run import trace
from research.training.bundling import data_hashes
from research.training.config import StrategyRelease
from research.training.dataset import adjustment_of, require_invariant_rules
from research.training.run import read_history

_GOLDEN = 8
_COSTS = ("commission", "commission_basis_points", "commission_minimum", "slippage_ticks")
_DIGITS = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class ReleaseDates:
    """The session dates of a release: `development` is judged in the open, `hold_out` stays sealed."""

    development: DateRange
    hold_out: DateRange

    @classmethod
    def of(cls, release: StrategyRelease, history: History) -> ReleaseDates:
        """Divide the sessions of a history; TrainingError where one of the two parts would be empty.

        A share is one of the sessions; the last of them are sealed.
        """
        sessions = _sessions(release, history)
        settings = release.hold_out
        if settings.start is not None:
            first = int(np.searchsorted(sessions, np.datetime64(settings.start)))
        else:
            first = round(sessions.size * (1.0 - (settings.share or 0.0)))
        if not 0 < first < sessions.size:
            there = f"{sessions[0]} to {sessions[-1]}" if sessions.size else "no session at all"
            raise TrainingError(
                f"{release.symbol}: the hold-out must leave sessions before it and hold some itself, there "
                f"are {there}; change hold_out or the dates"
            )
        days = sessions.tolist()
        return cls(
            development=DateRange(start=days[0], end=days[first - 1]),
            hold_out=DateRange(start=days[first], end=days[-1]),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ReleasedStrategy:
    """A release with its bars, and what follows from both."""

    release: StrategyRelease
    history: History
    registry: FeatureRegistry

    @classmethod
    def of(
        cls, release: StrategyRelease, history: History, *, registry: FeatureRegistry | None = None
    ) -> ReleasedStrategy:
        """Join them; TrainingError where the rules move with the rolls of difference-adjusted bars."""
        known = registry or default_registry()
        key = SeriesKey(release.symbol, release.strategy.bars)
        require_invariant_rules(release, known, adjustment_of(history, key))
        return cls(release=release, history=history, registry=known)

    @property
    def key(self) -> SeriesKey:
        """The traded series."""
        return SeriesKey(self.release.symbol, self.release.strategy.bars)

    @property
    def bars(self) -> Bars:
        """All bars of the traded series."""
        return self.history.series(self.key)

    @cached_property
    def dates(self) -> ReleaseDates:
        """What is judged in the open, and what is sealed."""
        return ReleaseDates.of(self.release, self.history)

    def account(self, dates: DateRange, history: History | None = None) -> Account:
        """Return what the strategy does over some dates, flat at their beginning, by the compiled sweep.

        history   other markets or bars than its own, for a question about costs
        """
        config, symbol, known = self.release.strategy, self.release.symbol, history or self.history
        traced = trace(config, known, symbol, span=dates, registry=self.registry)
        rows = dates.select(self.bars, known.markets[symbol])
        traded = self.bars.rows(rows.start, rows.stop)
        return Account.of_trace(traced, traded, known.markets[symbol], config.capital)

    @cached_property
    def hashes(self) -> dict[str, str]:
        """What the bundle depends on, by name: `config`, `data` and `code`."""
        return {
            "config": self.release.config_hash,
            "data": data_hash(self.history, self.release.symbol),
            "code": code_hash(RELEASING),
        }

    def count(self, ledger: Ledger, *, now: datetime) -> tuple[str, ...]:
        """Seal the hold-out, and count the strategy, once, as a trial on the dates before it.

        Returns what the ledger has to say of its bars: other markets that move alike.
        """
        dates, symbol = self.dates.development, self.release.symbol
        family, strategy = trial_family(symbol), self.release.strategy
        told = introduce(ledger, self.history, self.key, family, now=now)
        ledger.declare(space_of_one(strategy, symbol, dates, proposer=RELEASE), family, dates, now=now)
        ledger.enact(family, dates, limits={}, holdout=self.dates.hold_out, now=now)
        trial = json_digest([self.hashes, strategy.config_hash, str(dates)])[:_DIGITS]
        ledger.record(
            Trials(family=family, symbol=symbol, dates=dates, kind=RELEASE, evaluations={trial: OK}),
            now=now,
        )
        return told

    @cached_property
    def bundle(self) -> Bundle:
        """The bundle: the strategy, its golden vectors, and what it did before the hold-out."""
        strategy = self.release.strategy
        return Bundle(
            schema=WITHOUT_MODEL,
            symbol=self.release.symbol,
            target="",
            pipeline=None,
            feature_ids=strategy.feature_ids,
            fingerprints={each: self.registry.fingerprint(each) for each in strategy.feature_ids},
            strategy=bundled_strategy(strategy),
            threshold=None,
            training=self._content(),
            metrics=self.account(self.dates.development).measures,
            golden=self._golden(),
        )

    def _content(self) -> dict[str, Any]:
        dates = self.dates
        return {
            "range": [dates.development.start.isoformat(), dates.development.end.isoformat()],
            "hold_out": [dates.hold_out.start.isoformat(), dates.hold_out.end.isoformat()],
            "config": self.release.model_dump(mode="json"),
            "config_hash": self.release.config_hash,
            "data_hashes": data_hashes(self.history),
            "adjustments": {str(key): bars.adjustment for key, bars in sorted(self.history.bars.items())},
            "dataset_hashes": self.hashes,
            "code_hash": self.hashes["code"],
            "versions": training_versions(),
        }

    def _golden(self) -> GoldenVectors:
        """Return the vectors of the last bars before the hold-out whose vector is complete."""
        strategy = self.release.strategy
        plan = self.registry.plan(strategy.feature_ids, self.key)
        batch = BatchFeatures(plan, self.history, max_age=strategy.max_age.limits)
        known = self.dates.development.select(self.bars, self.history.markets[self.release.symbol])
        complete = np.flatnonzero(np.isfinite(batch.matrix[: known.stop]).all(axis=1))
        if not complete.size:
            raise TrainingError(
                f"{self.release.symbol}: no bar before the hold-out has a complete vector; give more history"
            )
        return golden_vectors(
            self.history,
            self.key,
            strategy.feature_ids,
            None,
            batch.end[complete[-_GOLDEN:]],
            strategy.max_age.limits,
            registry=self.registry,
        )


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A strategy as a version of the store; `new` is False where the very bundle was there already.

    remarks   what the ledger has to say of its bars
    """

    symbol: str
    version: str
    new: bool
    remarks: tuple[str, ...] = ()


def register_strategy(
    release: StrategyRelease,
    store: ModelStore,
    ledger: Ledger,
    *,
    by: str,
    now: Callable[[], datetime],
    data_dir: Path | None = None,
    path: str = "",
    reason: str = "",
    name: str = VETO,
) -> Registration:
    """Make the bundle of a strategy and register it as a candidate, or find the version that it is already.

    data_dir   folder of the bars; None: embedded data
    path       of the file, for the record; reason   why it is to supersede what is in production

    It is counted as a trial first. Raises: what `read_history` and `ReleasedStrategy` raise; UnfitBundle,
    StoreFailure; nothing is registered then.
    """
    require_exact()
    released = ReleasedStrategy.of(release, read_history(release, data_dir=data_dir))
    told = released.count(ledger, now=now())
    bundle = replace(released.bundle, name=name)
    sha256 = sha256_of(bundle_bytes(bundle))
    model = store.manifest().instruments.get(release.symbol, {}).get(name)
    known = {} if model is None else {each.sha256: version for version, each in model.versions.items()}
    if sha256 in known:
        return Registration(symbol=release.symbol, version=known[sha256], new=False, remarks=told)
    version = store.register(
        bundle, record=record_of(released, data_dir, path), by=by, now=now(), supersedes_reason=reason
    )
    return Registration(symbol=release.symbol, version=version, new=True, remarks=told)


def promote_strategy(
    release: StrategyRelease,
    store: ModelStore,
    ledger: Ledger,
    *,
    by: str,
    now: Callable[[], datetime],
    data_dir: Path | None = None,
    path: str = "",
    reason: str = "",
    force: bool = False,
    name: str = VETO,
) -> tuple[Registration, Change | None, str]:
    """Register a strategy, and promote it if the store's policy is content; arguments as `register_strategy`.

    Returns the version, what the promotion changed, and else why there was none: the version is a candidate
    then, which can be judged, and the same call promotes it once it has the evidence. Raises: what
    `register_strategy` and `ModelStore.promote` raise, but for EvidenceMissing.
    """
    if force and not reason:
        raise VerbRefused(f"{release.symbol}: force needs a reason; say why the evidence may be skipped")
    found = register_strategy(
        release, store, ledger, by=by, now=now, data_dir=data_dir, path=path, reason=reason, name=name
    )
    try:
        change = promote_version(
            store, found.symbol, found.version, by=by, now=now(), reason=reason, force=force, name=name,
            database=lambda: ledger.database,
        )  # fmt: skip
    except EvidenceMissing as error:
        return found, None, str(error)
    return found, change.model_copy(update={"remarks": (*found.remarks, *change.remarks)}), ""


def record_of(released: ReleasedStrategy, data_dir: Path | None, path: str) -> TrainingRecord:
    """Return what it takes to make the same bundle again; nothing in it is drawn, the seed is 0."""
    versions = training_versions()
    return TrainingRecord(
        code_revision=code_revision(checkout_root()),
        code_hash=released.hashes["code"],
        config=released.release.model_dump(mode="json"),
        config_path=path,
        data_hashes=data_hashes(released.history),
        data_dir=None if data_dir is None else str(data_dir),
        seed=0,
        lock_hash=lock_hash(),
        python=versions["python"],
        versions=versions,
    )


def with_costs(history: History, factor: float) -> History:
    """Return the same bars of instruments whose commissions and slippage are `factor` times as high."""
    return replace(history, markets={name: _dearer(each, factor) for name, each in history.markets.items()})


def _dearer(market: Market, factor: float) -> Market:
    instrument = market.instrument
    dearer = {name: factor * getattr(instrument, name) for name in _COSTS}
    return replace(market, instrument=instrument.model_copy(update=dearer))


def trial_family(symbol: str) -> str:
    """Return the instrument family on which trials with a symbol are counted."""
    return load_families().of(load_instruments().instrument(symbol))


def _sessions(release: StrategyRelease, history: History) -> Dates:
    """Return the session dates that a release asks for and has bars of, datetime64[D], rising."""
    bars = history.series(SeriesKey(release.symbol, release.strategy.bars))
    found = np.unique(history.markets[release.symbol].session.dates(bars.end, bars.timeframe))
    first, last = release.data.start or found[0].item(), release.data.end or found[-1].item()
    return found[(found >= np.datetime64(first)) & (found <= np.datetime64(last))].astype("datetime64[D]")
