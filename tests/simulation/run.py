"""One process of the engine in the simulation: from its start to its end, its death or its failure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import SecretStr

from lockstep.live.brokers.protocol import Holdings, OutboundBroker, ShadowBroker
from lockstep.live.clock_check import ClockCheck, ClockSettings, ClockVerdict
from lockstep.live.engine import Engine
from lockstep.live.events import Event, FillReported, RolloutMoved
from lockstep.live.feeds.protocol import SteadyClock
from lockstep.live.feeds.source import InboxSource, Known
from lockstep.live.feeds.synchroniser import Synchroniser
from lockstep.live.journal import Journal
from lockstep.live.messages import Epoch, SetRecord
from lockstep.live.operator.commands import COMMANDS, Mailbox
from lockstep.live.operator.statement import FillPositions, PositionsFile, StatementFile, reported_ids
from lockstep.live.plausible import Bands, Plausibility
from lockstep.live.reconciliation import Reconciliation
from lockstep.live.risk import rollout
from lockstep.live.risk.gateway import Gateway
from lockstep.live.risk.limits import Limits
from lockstep.live.risk.switches import Switches
from lockstep.live.secret import ScrubbedJournal
from lockstep.live.setup import Setup
from lockstep.live.silence import Silence
from lockstep.live.status.watcher import Watcher
from lockstep.live.traded import TradedModel, usual_trades
from lockstep.market.history import SeriesKey
from lockstep.secrets import Secrets
from simulation.broker import URL, SimBroker
from simulation.ports import (
    FOREVER,
    Lifeline,
    MortalBroker,
    MortalJournal,
    MortalWatcher,
    PromptAlerts,
    QuietWatcher,
    SimInbox,
    SimOutside,
)
from simulation.venues import SECOND, markets, timetable

_PLAUSIBLE = Plausibility()
_SILENT_AFTER = 900 * SECOND

if TYPE_CHECKING:
    from simulation.world import World


class Run:
    """One process. `live` is whether it has replayed its journal; `error` why it ended by itself, if so.

    The parts are joined as `Service` joins them; what differs is what the simulation stands for: files of
    bars, the model store, sockets, threads and the clock.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = SteadyClock(world.clock.wall, world.clock.monotonic)
        self.line = Lifeline(world.passed)
        self.secrets = Secrets({})
        if world.echoes:
            self.secrets.add("TradersPost webhook", SecretStr(URL))
        self.live = False
        self.error: Exception | None = None
        self.journal: Journal | None = None
        self.engine: Engine | None = None
        self.epoch: Epoch | None = None

    def go(self) -> None:
        """Run until the engine ends; Killed where the process dies."""
        world = self.world
        try:
            self.journal = Journal.open(world.journal_path)
            world.opened(self.journal)
            self.epoch = self.journal.newest_epoch() or self._first_epoch(self.journal)
            world.audit.begun(self)
            self.engine = self._join(self.journal, self.epoch)
            self.engine.run()
        except Exception as error:
            self.error = error

    def close(self) -> None:
        """Let go of the files, as the operating system does."""
        self.world.feed.detach()
        if self.journal is not None:
            self.journal.close()
        self.journal = self.engine = None

    def committed(self, entry: SetRecord | Event) -> None:
        """Take an entry that is on disk."""
        if isinstance(entry, Event) and entry.kind == "start":
            self.live = True
            if self.world.over and self.engine is not None:
                self.engine.stop("the life is over")
        self.world.committed(entry)

    def _first_epoch(self, journal: Journal) -> Epoch:
        world = self.world
        epoch = Epoch(
            number=0,
            mode=world.life.desk.mode,
            reason="first start",
            started=self.clock(),
            hashes={"code": "simulated", "config": str(world.life.seed)},
            bundles={symbol: wanted.sha256 for symbol, wanted in world.store.wanted.items()},
            warmup=world.warmup,
            states={},
        )
        self._require_sizes(epoch)
        self.line.reach("epoch", "before")
        begun = replace(epoch, number=journal.begin_epoch(epoch))
        self.line.reach("epoch", "after")
        return begun

    def _require_sizes(self, epoch: Epoch) -> None:
        """Refuse a stage of the roll-out that would send nothing, as `Service` does."""
        desk, models = self.world.life.desk, self._models(epoch)
        if desk.mode == "live":
            stages = (rollout.RolloutStage(from_day=1, mode="live", fraction=desk.fraction),)
            trades = usual_trades(models, markets(), epoch.warmup)
            rollout.require_sizes(rollout.Rollout(stages=stages), 0, trades)

    def _models(self, epoch: Epoch) -> dict[str, TradedModel]:
        return {symbol: self.world.store.load(symbol, sha256) for symbol, sha256 in epoch.bundles.items()}

    def _join(self, journal: Journal, epoch: Epoch) -> Engine:
        world, desk = self.world, self.world.life.desk
        models = self._models(epoch)
        needs = _needs(models)
        traded = frozenset(model.key for model in models.values())
        switches = Switches(kill_file=world.kill_file, halt_file=world.halt_file, flatten=desk.flatten)
        statement = self._statement(journal)
        source = InboxSource(
            [world.feed.attach(self.clock, world.audit.offered)],
            functools.partial(_synchroniser, frozenset(world.feed.keys), traded, int(desk.grace * 1e9)),
            inbox=SimInbox(self.line, world.wait),
            clock=self.clock,
            silence=Silence(timetable(frozenset(world.feed.keys)), allowed_ns=_SILENT_AFTER),
            beat=FOREVER,
        )
        engine = Engine(
            Setup(
                epoch=epoch,
                models=models,
                markets=markets(),
                journal=self._scrubbed(MortalJournal(journal, self.line, self.committed)),
                source=source,
                gateway=Gateway(
                    limits=limits_of(desk.limits),
                    switches=switches,
                    mode=epoch.mode,
                    markets={symbol: markets()[symbol] for symbol in models},
                ),
                outside=self._outside(journal, switches, statement),
                observer=self._watcher(epoch, switches),
                now=source.now,
                broker=self._broker(),
                policies={each.symbol: each.handover for each in world.life.traders},
                memory=max([desk.memory, _PLAUSIBLE.bars + 1, *needs.values()]),
                flatten=desk.flatten,
                fraction=self._fraction(journal, epoch),
                expire=int(desk.expire * 1e9),
                reconciliation=self._reconciliation(statement),
                clock=self._checked_clock(),
            )
        )
        return engine

    def _reconciliation(self, statement: StatementFile | None) -> Reconciliation | None:
        """Return what compares positions with the broker's, as `Service` makes it."""
        world, desk = self.world, self.world.life.desk
        if desk.mode != "live":
            return None
        sessions = {each.symbol: markets()[each.symbol].session for each in world.life.traders}
        source: Holdings | None = None
        if desk.positions == "file":
            source = PositionsFile(world.positions_file)
        elif desk.positions == "fills" and statement is not None:
            source = FillPositions(statement, sessions)
        return Reconciliation(sessions, started=self.clock(), source=source)

    def _checked_clock(self) -> Callable[[int], ClockVerdict] | None:
        """Return the verdict on the clock, measured in simulated time instead of by a thread."""
        if self.world.life.desk.mode != "live":
            return None
        settings = ClockSettings(ntp="time.example.com")
        check = ClockCheck(settings, self.clock, lambda: self.world.measure(self.clock))

        def measure() -> None:
            if self.line.alive and self.world.run is self:
                seconds = settings.every_hours * 3_600.0 if check.check() else 60.0
                self.world.agenda.after(seconds, measure)

        self.world.agenda.after(1.0, measure)
        return check.verdict

    def _scrubbed(self, journal: MortalJournal) -> ScrubbedJournal | MortalJournal:
        """Return the journal that no secret enters, where there is a secret that could."""
        return ScrubbedJournal(journal, self.secrets) if self.world.echoes else journal

    def _statement(self, journal: Journal) -> StatementFile | None:
        if self.world.life.desk.reports != "statement":
            return None
        return StatementFile(self.world.statement_file, reported_ids(journal.events(FillReported)))

    def _outside(self, journal: Journal, switches: Switches, statement: StatementFile | None) -> SimOutside:
        world = self.world
        seen = {event.command for event in journal.events(*COMMANDS) if isinstance(event, COMMANDS)}
        mailbox = Mailbox(world.mailbox, seen)
        return SimOutside(world.store, mailbox, statement, switches, self.line, world.audit.looked)

    def _watcher(self, epoch: Epoch, switches: Switches) -> MortalWatcher:
        world = self.world
        alerts = PromptAlerts(world.audit.alert_posted, world.audit.alert_sent, self.secrets.scrub)
        make = Watcher if world.life.desk.status else QuietWatcher
        watcher = make(
            world.status_file,
            mode=epoch.mode,
            epoch=epoch.number,
            started=self.clock(),
            alerts=alerts,
            switches=switches,
            scrubbed=self.secrets.scrubbed,
        )
        return MortalWatcher(watcher, self.line, world.audit.looks)

    def _broker(self) -> OutboundBroker | None:
        world = self.world
        if world.life.desk.mode == "paper":
            return None
        symbols = [each.symbol for each in world.life.traders]
        real = SimBroker(
            {symbol: markets()[symbol] for symbol in symbols},
            scrub=self.secrets.scrub,
            conduct=world.conduct,
            place=world.place,
            left=world.audit.left,
            now=world.clock.monotonic,
            after=world.agenda.after,
            wait=world.wait_for,
        )
        broker: OutboundBroker = real if world.life.desk.mode == "live" else ShadowBroker(real)
        return MortalBroker(broker, self.line, world.audit.submitted, world.audit.answered)

    def _fraction(self, journal: Journal, epoch: Epoch) -> float:
        """Return the fraction of the size with which the epoch began; its own steps are replayed."""
        first = journal.first_entry(epoch.number)
        before = [event for event in journal.events(RolloutMoved) if event.sequence < first]
        return float(before[-1].fraction) if before else self.world.life.desk.fraction


def _synchroniser(
    keys: frozenset[SeriesKey], traded: frozenset[SeriesKey], grace: int, known: Known
) -> Synchroniser:
    return Synchroniser(
        timetable(keys),
        grace_ns=grace,
        traded=traded,
        known=known,
        bands=Bands(_PLAUSIBLE),
        calendar=True,
    )


def _needs(models: Mapping[str, TradedModel]) -> dict[SeriesKey, int]:
    needs: dict[SeriesKey, int] = {}
    for model in models.values():
        for key, bars in model.needs(markets()).items():
            needs[key] = max(bars, needs.get(key, 0))
    return needs


def limits_of(told: Mapping[str, object]) -> Limits:
    """Return the limits of a desk."""
    return Limits.model_validate(told)
