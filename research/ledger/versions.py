"""A version of the model store as research runs it: the strategy, and its veto, as the live engine trades."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self

from lockstep.errors import ConfigError, EvidenceMissing, ExperimentError, UnknownModel
from lockstep.market.command_line import ALL, Chosen, named_symbols
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.families import load_families
from lockstep.market.history import History, SeriesKey
from lockstep.models.bundle import Bundle
from lockstep.models.manifest import PRODUCTION, VETO, TrainingRecord
from lockstep.models.store import ModelStore, load_bundle
from lockstep.models.verbs import Change
from lockstep.strategy.bundled import config_of, veto_of
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.veto import Veto
from research.ledger import promotions
from research.ledger.database import Database
from research.ledger.doors import open_door
from research.ledger.law import FORCED, PROMOTED, REFUSED, Verdict
from research.ledger.ledger import Ledger

_VERSION = re.compile(rf"{PRODUCTION}|v[0-9]+")


@dataclass(frozen=True, kw_only=True, eq=False)
class TradedVersion:
    """A version: its bundle, how it was trained, and what it says to a strategy."""

    bundle: Bundle
    record: TrainingRecord
    config: StrategyConfig
    veto: Veto | None

    @classmethod
    def load(cls, symbol: str, version: str, store: ModelStore) -> Self:
        """Return `v3` or `production` of a symbol; a ModelError where it is unknown or refused."""
        bundle = load_bundle(symbol, version, store=store)
        return cls(
            bundle=bundle,
            record=store.manifest().entry(symbol, version).record,
            config=config_of(bundle),
            veto=veto_of(bundle),
        )

    @property
    def origin(self) -> dict[str, Any]:
        """What the provenance of a run names: bundle, dates that a model was fitted on, sealed dates."""
        return {
            "version": self.bundle.version,
            "sha256": self.bundle.sha256,
            "threshold": self.bundle.threshold,
            "fitted_on": self.bundle.training.get("range") if self.bundle.has_model else None,
            "hold_out": self.bundle.training.get("hold_out"),
        }

    def count_look(
        self, history: History, span: DateRange, ledger: Ledger, *, now: datetime
    ) -> tuple[str, ...]:
        """Count a look where a run over `span` shows sealed dates; lines to print."""
        own = self.bundle.training.get("hold_out")
        return open_door(
            ledger,
            history,
            SeriesKey(self.bundle.symbol, self.config.bars),
            span,
            purpose=f"backtest of {self.bundle.sha256}",
            now=now,
            also=() if not own else (DateRange.of(*own),),
        )


@dataclass(frozen=True, kw_only=True)
class VersionName:
    """`v3` or `production` of a model store (None: the default one), of whatever symbol."""

    version: str
    store: Path | None = None

    def load(self, symbol: str) -> TradedVersion:
        """Return the version of a symbol."""
        return TradedVersion.load(symbol, self.version, ModelStore(self.store))


def named_strategy(text: str, store: Path | None) -> Path | VersionName:
    """Return what a command line means: `v3` and `production` are versions, all else is a strategy's YAML."""
    return VersionName(version=text, store=store) if _VERSION.fullmatch(text) else Path(text)


def promote_version(
    store: ModelStore,
    symbol: str,
    version: str,
    *,
    by: str,
    now: datetime,
    reason: str = "",
    force: bool = False,
    name: str = VETO,
    database: Callable[[], Database] = Database.open,
) -> Change:
    """Promote a version as `ModelStore.promote` does, and hold the ledger against what the manifest says.

    A ledger that is not the one of the last promotion, that lost rows or cannot be read is an objection,
    which `force` sets aside. Refusals are recorded in the ledger too. Raises what `ModelStore.promote` does.
    """
    manifest = store.manifest()
    sha256 = manifest.entry(symbol, version, name).sha256
    try:
        ledger = Ledger(database())
        stamp = promotions.stamp_of(ledger)
        objections = promotions.faults(ledger, promotions.of_manifest(manifest, store.folder))
    except ExperimentError as error:
        ledger, stamp, objections = None, None, (f"the ledger cannot be read: {error}",)
    told = partial(_told, ledger, symbol, sha256, store.policy().model_dump(mode="json"), now=now)
    try:
        change = store.promote(
            symbol, version, by=by, now=now, reason=reason, force=force, name=name,
            objections=objections, ledger=stamp,
        )  # fmt: skip
    except EvidenceMissing as error:
        told(REFUSED, (str(error),))
        raise
    remarks = told(FORCED if change.overruled else PROMOTED, change.overruled, reason=reason)
    return change.model_copy(update={"remarks": (*change.remarks, *remarks)})


def _told(
    ledger: Ledger | None,
    symbol: str,
    subject: str,
    limits: Mapping[str, Any],
    kind: str,
    refusals: tuple[str, ...],
    *,
    reason: str = "",
    now: datetime,
) -> tuple[str, ...]:
    """Record a verdict on a version, and return what the ledger knew about its family before."""
    if ledger is None:
        return ()
    families = (load_families().of(load_instruments().instrument(symbol)),)
    remarks = promotions.remarks(ledger, families)
    verdict = Verdict(
        kind=kind, subject=subject, families=families, limits=limits, refusals=refusals, reason=reason
    )
    ledger.pronounce(verdict, now=now)
    return remarks


def symbols_with(text: str, version: str, store: ModelStore) -> Chosen:
    """Return the symbols of `ES` or `ES,NQ`, or of `all` those that have a version; ConfigError for none."""
    if text != ALL:
        return Chosen(named_symbols(text))
    manifest, found, skipped = store.manifest(), [], []
    for each in manifest.instruments:
        try:
            manifest.entry(each, version)
            found.append(each)
        except UnknownModel as error:
            skipped.append(f"{each} is skipped: {error}")
    if not found:
        raise ConfigError(f"--symbol all: no symbol of {store.folder} has version {version}")
    return Chosen(tuple(found), tuple(skipped))
