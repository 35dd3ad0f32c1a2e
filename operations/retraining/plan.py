"""What a desk's monitor, model store and book say about retraining: the triggers, symbol by symbol.

Everything is only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Self, get_args

from lockstep.errors import LockstepError, NoReference, RetrainingError
from lockstep.live.config import LiveConfig
from lockstep.market.instrument import traded_symbol
from lockstep.models.manifest import VersionEntry
from lockstep.models.store import ModelStore
from lockstep.monitoring.drift import WARNING
from lockstep.monitoring.frozen import FrozenReference, frozen_in
from lockstep.monitoring.outcomes import SignalOutcome
from lockstep.monitoring.readings import StreamKind
from lockstep.monitoring.triggers import (
    AccuracyFall,
    AlarmFact,
    RetrainingTrigger,
    accuracy_fall,
    triggers,
)
from operations.retraining.book import RetrainingBook, RetrainingRun, Step
from operations.retraining.config import RetrainingConfig
from operations.watch import rows
from operations.watch.config import MonitoringConfig
from operations.watch.database import MonitorDatabase
from operations.watch.features import FEATURES, REGIME
from operations.watch.join import LaneSession, LaneSwap
from operations.watch.report import corrected, read_report
from operations.watch.streams import AlarmRaised
from research.training.config import StrategyRelease, recorded_config

_SECOND = 1_000_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class MonitoredDesk:
    """A desk as its monitor knows it, at one moment.

    frontier   up to when all outcomes are known, UTC ns, 0: nothing is known yet
    outcomes   of all lanes, corrected; drift: rows of the newest looks
    """

    live: LiveConfig
    store: ModelStore
    frontier: int
    outcomes: tuple[SignalOutcome, ...]
    alarms: tuple[AlarmRaised, ...]
    drift: tuple[dict[str, Any], ...]
    swaps: tuple[LaneSwap, ...]
    sessions: tuple[LaneSession, ...]

    @classmethod
    def read(cls, config: RetrainingConfig) -> Self:
        """Read monitor.db; MonitorError where there is none, or it never finished a run."""
        monitoring = MonitoringConfig.load(config.monitoring)
        live = LiveConfig.load(monitoring.desk)
        report = read_report(monitoring.database)
        with MonitorDatabase.open(monitoring.database, readonly=True) as database:
            return cls(
                live=live,
                store=ModelStore(live.store),
                frontier=int(report.frontier),
                outcomes=corrected(database),
                alarms=report.alarms,
                drift=report.drift,
                swaps=tuple(rows.swaps(database)),
                sessions=tuple(rows.sessions(database)),
            )

    @property
    def symbols(self) -> tuple[str, ...]:
        """The traded symbols, sorted."""
        lanes = {each.symbol for each in self.live.instruments} | {each.lane for each in self.swaps}
        return tuple(sorted({traded_symbol(each) for each in lanes}))

    @property
    def today(self) -> date:
        """The day of the frontier, UTC; RetrainingError where nothing is known yet."""
        if not self.frontier:
            raise RetrainingError(
                "the monitor knows no outcome yet; let the desk run, then lockstep monitor run"
            )
        return day_of(self.frontier)

    def production(self, symbol: str) -> tuple[str, VersionEntry]:
        """Return the version in production and its entry.

        UnknownModel where there is none, RetrainingError where it is a strategy without a model.
        """
        manifest = self.store.manifest()
        version = manifest.resolve(symbol)
        entry = manifest.entry(symbol, version)
        if isinstance(recorded_config(entry.record), StrategyRelease):
            raise RetrainingError(
                f"{symbol} {version}: is a strategy without a model, so that there is nothing to train again"
            )
        return version, entry

    def of_bundle(self, sha256: str) -> tuple[SignalOutcome, ...]:
        """Return the outcomes of a bundle, by decision."""
        found = (each for each in self.outcomes if each.bundle == sha256)
        return tuple(sorted(found, key=lambda each: (each.decision, each.lane)))


@dataclass(frozen=True, kw_only=True)
class SymbolPlan:
    """What is to be done for one symbol.

    version    in production, "" where there is none; triggers: what calls for a retraining
    accuracy   by the usual rule, None where it has not fallen; run: one that has not ended, None without
    refusal    why nothing can be said, "" otherwise
    """

    symbol: str
    version: str = ""
    triggers: tuple[RetrainingTrigger, ...] = ()
    accuracy: AccuracyFall | None = None
    run: RetrainingRun | None = None
    refusal: str = ""

    @property
    def due(self) -> RetrainingTrigger | None:
        """The trigger that begins a retraining: the first one, where no run of the symbol is under way."""
        return self.triggers[0] if self.triggers and self.run is None else None


def read_plan(config: RetrainingConfig) -> tuple[SymbolPlan, ...]:
    """Return the plan of each symbol of the desk; what is wrong with one of them stops no other.

    MonitorError where the monitor has not run, RetrainingError where the book was changed.
    """
    view = MonitoredDesk.read(config)
    with RetrainingBook.open(config.database, readonly=True) as book:
        runs = book.runs()
    return tuple(plan_of(view, symbol, runs, config) for symbol in view.symbols)


def plan_of(
    view: MonitoredDesk, symbol: str, runs: Sequence[RetrainingRun], config: RetrainingConfig
) -> SymbolPlan:
    """Return the plan of one symbol; `runs` are those of the book."""
    own = [each for each in runs if each.symbol == symbol]
    active = next((each for each in own if each.is_active), None)
    try:
        version, entry = view.production(symbol)
        reference = frozen_in(view.store, symbol, entry.sha256)
        fall = _accuracy(view, entry, reference)
        found = triggers(
            symbol,
            today=view.today,
            trained_to=date.fromisoformat(reference.history_end),
            bundle=entry.sha256,
            alarms=_alarms(view, entry.sha256),
            worst_drift=_looked(view, entry.sha256, FEATURES, WARNING),
            regime=_looked(view, entry.sha256, REGIME),
            accuracy=fall,
            last_run=_last_run(own),
            months=config.months,
            cool_down_days=config.cool_down_days,
        )
    except NoReference as error:
        return SymbolPlan(symbol=symbol, run=active, refusal=f"{symbol}: no reference: {error}")
    except LockstepError as error:
        return SymbolPlan(symbol=symbol, run=active, refusal=f"{symbol}: {error}")
    return SymbolPlan(symbol=symbol, version=version, triggers=found, accuracy=fall, run=active)


def _alarms(view: MonitoredDesk, sha256: str) -> list[AlarmFact]:
    """Return what is raised of a bundle's own streams: slippage is no fault of a model."""
    return [
        AlarmFact(
            level="ALARM" if each.level == "ALARM" else "WATCH", stream=each.stream, bundle=each.bundle,
            raised=each.raised,
        )
        for each in view.alarms
        if not each.acknowledged and each.bundle == sha256 and each.stream in get_args(StreamKind)
    ]  # fmt: skip


def _looked(view: MonitoredDesk, sha256: str, kind: str, verdict: str = "") -> str:
    """Return since when the newest look of a kind warns of a bundle, ISO date; empty where it does not."""
    for row in view.drift:
        warns = row["verdict"] == verdict if verdict else row["severity"] == "warning"
        if row["kind"] == kind and row["bundle"] == sha256 and warns:
            return str(row["since"] or row["session"])
    return ""


def _accuracy(view: MonitoredDesk, entry: VersionEntry, reference: FrozenReference) -> AccuracyFall | None:
    expected = reference.expected
    if not expected.win_rate > 0.0 or not expected.trades_per_year > 0.0:
        return None
    taken = [each for each in view.of_bundle(entry.sha256) if each.state == "taken"]
    won = [each.won for each in sorted(taken, key=lambda each: (each.exit, each.decision))]
    return accuracy_fall(won, reference=expected.win_rate, per_year=expected.trades_per_year)


def _last_run(runs: Sequence[RetrainingRun]) -> date | None:
    began = [row.desk for each in runs if (row := each.at(Step.TRIGGERED)) is not None]
    return day_of(max(began)) if began else None


def day_of(stamp: int) -> date:
    """Return the UTC day of a moment, UTC ns."""
    return datetime.fromtimestamp(stamp // _SECOND, UTC).date()
