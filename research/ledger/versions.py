"""A version of the model store as research runs it: the strategy, and its veto, as the live engine trades."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

from lockstep.errors import ConfigError, UnknownModel
from lockstep.market.command_line import ALL, Chosen, named_symbols
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.instrument import Instrument
from lockstep.models.bundle import Bundle
from lockstep.models.manifest import PRODUCTION, TrainingRecord
from lockstep.models.store import ModelStore, load_bundle
from lockstep.strategy.bundled import config_of, veto_of
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.veto import Veto
from research.ledger.families import load_families
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

    def count_look(self, history: History, span: DateRange, ledger: Ledger, *, now: datetime) -> str:
        """Count a look at the hold-out where a run over `span` shows it; return a sentence on it, or nothing.

        It is counted before anything is run, as by the validation.
        """
        sealed = self.bundle.training.get("hold_out")
        if not sealed:
            return ""
        market = history.markets[self.bundle.symbol]
        bars = history.series(SeriesKey(self.bundle.symbol, self.config.bars))
        rows = span.select(bars, market)
        ends = bars.end[[rows.start, rows.stop - 1]]
        first, last = market.session.dates(ends, bars.timeframe).astype("datetime64[D]").tolist()
        dates = DateRange(start=date.fromisoformat(sealed[0]), end=date.fromisoformat(sealed[1]))
        if last < dates.start or first > dates.end:
            return ""
        return _counted(self.bundle, market.instrument, dates, ledger, now)


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


def _counted(bundle: Bundle, instrument: Instrument, sealed: DateRange, ledger: Ledger, now: datetime) -> str:
    family = load_families().of(instrument)
    looks = ledger.look(family, bundle.symbol, sealed, purpose=f"backtest of {bundle.sha256}", now=now)
    return (
        f"{bundle.symbol} {bundle.version}: this run shows the hold-out, {sealed}; it is look {looks} of the "
        f"family {family} at these days, and counted. End before {sealed.start} to keep it sealed."
    )


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
