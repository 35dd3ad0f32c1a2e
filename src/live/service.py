"""`Service`: a running desk, put together from `live.yml`, its journal and the model store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockstep.errors import ConfigError, LiveError, LockstepError, ReplayMismatch
from lockstep.floats import require_exact
from lockstep.live.brokers.protocol import BrokerDesk, Connection, Holdings, ShadowBroker
from lockstep.live.clock_check import ClockCheck
from lockstep.live.config import LiveConfig
from lockstep.live.engine import Engine
from lockstep.live.epochs import (
    bound,
    first_epoch,
    live_hashes,
    needs_of,
    require_machine,
    require_same,
    stage_of,
    units_of,
    warmed,
)
from lockstep.live.events import EngineStarted, Event, FillReported, RolloutMoved
from lockstep.live.feeds.protocol import FeedDesk, SteadyClock
from lockstep.live.feeds.source import InboxSource, Known
from lockstep.live.feeds.synchroniser import Synchroniser
from lockstep.live.journal import Journal
from lockstep.live.messages import Epoch, Mode, SetRecord
from lockstep.live.operator.commands import COMMANDS, Mailbox
from lockstep.live.operator.statement import FillPositions, PositionsFile, StatementFile, reported_ids
from lockstep.live.outside import BrokerFills, World, require_wanted
from lockstep.live.plausible import Bands
from lockstep.live.portfolio import DeskPortfolio, begun_with, require_tradable
from lockstep.live.reconciliation import Reconciliation, UnitHoldings
from lockstep.live.risk.gateway import Gateway
from lockstep.live.risk.rollout import RolloutStep, require_sizes, stage
from lockstep.live.secret import ScrubbedJournal
from lockstep.live.setup import Setup
from lockstep.live.silence import Silence
from lockstep.live.starting import reason_of
from lockstep.live.status.health import HealthServer
from lockstep.live.status.status import ColdWindow
from lockstep.live.status.systemd import ALIVE, READY, STOPPING, notify
from lockstep.live.status.watcher import Watcher
from lockstep.live.traded import TradedModel, usual_trades
from lockstep.live.warmup import (
    feeds_of,
    require_known_rolls,
    require_quality,
    settled_bars,
    with_rolls,
)
from lockstep.market.config import load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.market.timetable import Timetable
from lockstep.models.store import ModelStore
from lockstep.monitoring.alerts import Alert, Alerts, LogSink, LogSinkSettings, Sink
from lockstep.portfolio.config import PortfolioConfig
from lockstep.secrets import Secrets

_LOGGER = logging.getLogger("lockstep.live")
_SECOND = 1_000_000_000
_STALE = 60.0


class Service:
    """One process of the live engine. Everything it opens is closed when the `with` block ends.

    config_path   of live.yml; mode   replaces the mode there
    environment   for the kill switch and the service manager
    stop_after    sets after which it ends by itself, None for never
    secrets       reads them, and keeps them out of everything that is written; None: from `environment`
    told          hears what is being done until the engine runs
    """

    def __init__(
        self,
        config_path: Path,
        *,
        mode: Mode | None,
        environment: Mapping[str, str],
        stop_after: int | None = None,
        secrets: Secrets | None = None,
        told: Callable[[str], None] = lambda doing: None,
    ) -> None:
        require_exact()
        self._secrets = secrets or Secrets(environment)
        self._told = told
        self.config = LiveConfig.load(config_path)
        self._environment = environment
        self._hashes = live_hashes(config_path)
        self._clock = SteadyClock()
        self._opened = ExitStack()
        self._book = load_instruments()
        self._store = ModelStore(self.config.store)
        self._switches = self.config.switches.forced_by(environment)
        wanted = mode or self.config.mode
        self.config.require_mode(wanted)
        # Below the working folder it is a trial; an absolute folder that is absent may be a disk that is.
        if not self.config.journal.is_absolute():
            self.config.journal.parent.mkdir(parents=True, exist_ok=True)
        told("opening the journal")
        with ExitStack() as undo:
            self.journal = undo.enter_context(Journal.open(self.config.journal))
            self.engine = self._join(wanted, stop_after)
            self._opened = undo.pop_all()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def stop(self, why: str) -> None:
        """Ask for a stop after the present bar set; safe in a signal handler."""
        self.engine.stop(why)

    def run(self) -> None:
        """Run until stopped or, with a replay, until its end; LockstepError where it must not go on."""
        self._alerts.start()
        self._opened.callback(self._alerts.stop, 5.0)
        self._opened.callback(self._source.close)
        if self.config.health_port is not None:
            health = HealthServer(
                self.config.health_port, lambda: self._watcher.status, self._clock, stale_seconds=_STALE
            )
            health.start()
            self._opened.callback(health.stop)
        if self._clock_check is not None:
            self._clock_check.start()
            self._opened.callback(self._clock_check.stop)
        if self._broker_fills is not None:
            self._broker_fills.start(self._source.wake)
            self._opened.callback(self._broker_fills.stop)
        self._watcher.replaying(self._recorded, self._clock())
        try:
            self.engine.run()
        except BaseException as error:
            differs, why = isinstance(error, ReplayMismatch), reason_of(error)
            self._watcher.end("mismatch" if differs else "stopped", why, self._clock())
            self._alerts.post(Alert("mismatch" if differs else "stop", why, self._clock()))
            if not isinstance(error, LockstepError):
                _LOGGER.exception("an unexpected error")
            raise
        finally:
            notify(STOPPING, self._environment)
        self._watcher.end("stopped", "as asked", self._clock())

    # Putting it together

    def _join(self, wanted: Mode, stop_after: int | None) -> Engine:
        config = self.config
        rollout_events = list(self.journal.events(RolloutMoved))
        self._units = config.rollout.smaller_units(config.versions, self._book)
        self._wanted_mode = wanted
        self._stage, now_stage = stage(config.rollout, [RolloutStep.of(event) for event in rollout_events])
        mode: Mode = "shadow" if wanted == "live" and now_stage.mode == "shadow" else wanted
        self._world = self._make_world()
        self._told("loading models from the store")
        epoch = self._epoch(mode)
        models = {symbol: self._world.model(symbol, sha) for symbol, sha in epoch.bundles.items()}
        traded_portfolio = config.traded_portfolio(self._book)
        if traded_portfolio is not None:
            models = dict(sorted(models.items()))
            require_tradable(config.limits, traded_portfolio, models, self._book.markets_with(models))
        if wanted == "live":
            for sentence in require_machine(self._store.manifest(), epoch.bundles):
                _LOGGER.warning("%s", sentence)
        needs = needs_of(models, self._book)
        epoch = bound(epoch, models, needs, config, self._book)
        config.plausible.require_known(sorted(needs))
        self._told("reading history and filling windows")
        wanted_bars = needs if config.replay or not epoch.number else {}
        settled = settled_bars(sorted(wanted_bars), config.history, self._book)
        require_known_rolls(settled, replay=config.replay is not None)
        if not epoch.number:
            require_quality(settled, config.history.min_quality)
            epoch = self._begun(epoch, models, needs, settled, traded_portfolio)
        elif self.journal.last_set(epoch.number) is None:
            self._require_sizes(epoch, models)
        desk = FeedDesk(
            needs=needs, settled=settled, book=self._book, clock=self._clock, secret=self._secrets.read
        )
        feeds = feeds_of(config, desk)
        sessions = {key: self._book.session(key.symbol) for key in needs}
        traded = frozenset(model.key for model in models.values())

        timetable = Timetable(sessions)

        def synchronise(known: Known) -> Synchroniser:
            return Synchroniser(
                timetable,
                grace_ns=int(config.grace * _SECOND),
                traded=traded,
                known=known,
                bands=Bands(config.bands),
                calendar=config.replay is None,
            )

        silence = Silence(timetable, allowed_ns=int(config.alerts.silent_after * _SECOND))
        clock = None if config.replay else self._clock
        self._source = InboxSource(feeds, synchronise, clock=clock, silence=silence)
        self._alerts = Alerts(self._sinks(), config.alerts.rate, scrub=self._secrets.scrub)
        self._watcher = Watcher(
            config.status,
            mode=mode,
            epoch=epoch.number,
            started=self._clock(),
            alerts=self._alerts,
            switches=self._switches,
            bars_every=int(config.alerts.bars_every * _SECOND),
            scrubbed=self._secrets.scrubbed,
        )
        connection = self._connection(mode, models)
        self._broker_fills = self._listening(connection)
        self._recorded = self.journal.count_sets(epoch.number)
        live = mode == "live" and config.clock is not None
        self._clock_check = ClockCheck(config.clock, self._clock) if live and config.clock else None
        traded_markets = {symbol: self._book.market(symbol) for symbol in models}
        began = stage_of(epoch, self.journal, config)
        engine = Engine(
            Setup(
                epoch=epoch,
                models=models,
                markets=with_rolls(self._book.markets_with(models), settled),
                journal=ScrubbedJournal(self.journal, self._secrets),
                source=self._source,
                gateway=Gateway(
                    limits=config.limits, switches=self._switches, mode=mode, markets=traded_markets
                ),
                outside=self._world,
                observer=_Beating(self._watcher, self._environment, self._clock),
                now=self._source.now,
                broker=connection.orders if connection else None,
                policies=config.policies,
                memory=max([config.kept_bars, *needs.values()]),
                flatten=config.switches.flatten,
                fraction=began.fraction,
                units=units_of(epoch, self.journal, began, self._units),
                expire=int(config.expire * _SECOND),
                stop_after=stop_after,
                portfolio=self._desk_portfolio(traded_portfolio, models, epoch),
                reconciliation=self._reconciliation(mode, models, connection),
                clock=self._clock_check.verdict if self._clock_check else None,
            )
        )
        label = f"stage {self._stage + 1} of {len(config.rollout.stages)}" if wanted == "live" else ""
        label += now_stage.in_units if label else ""
        self._watcher.watch(
            lambda: {
                "rollout": label,
                "pinned": self._world.pinned,
                **_known(engine),
                **self._sending(connection),
            }
        )
        return engine

    def _make_world(self) -> World:
        config, events = self.config, list(self.journal.events(*COMMANDS))
        seen = {event.command for event in events if isinstance(event, COMMANDS)}
        statement = None
        if config.statement:
            statement = StatementFile(config.statement, reported_ids(events), self._units)
        self._statement = statement
        mailbox = Mailbox(config.mailbox, seen)
        fills = [statement] if statement else []
        return World(self._store, config.versions, mailbox, self._switches, fills)

    def _epoch(self, mode: Mode) -> Epoch:
        """Return the newest epoch if it is of this code, configuration and mode; else one numbered 0."""
        newest = self.journal.newest_epoch()
        if newest is None:
            return first_epoch(self.config, self._store, mode=mode, hashes=self._hashes, now=self._clock())
        require_same(newest, self._hashes, mode)
        require_wanted(self._store.manifest(), self.config.pins, self._store.folder)
        return newest

    def _begun(
        self,
        epoch: Epoch,
        models: Mapping[str, TradedModel],
        needs: Mapping[SeriesKey, int],
        settled: History,
        portfolio: PortfolioConfig | None,
    ) -> Epoch:
        """Begin the first epoch of the journal, its windows filled."""
        filled, short = warmed(epoch, models, needs, settled, self.config)
        if short:
            _LOGGER.warning("windows are not full: %s; no trade until they are", short)
        self._require_sizes(filled, models)
        if portfolio is not None:
            filled = begun_with(filled, portfolio, models, self._book.markets_with(models))
        return replace(filled, number=self.journal.begin_epoch(filled))

    def _desk_portfolio(
        self, config: PortfolioConfig | None, models: Mapping[str, TradedModel], epoch: Epoch
    ) -> DeskPortfolio | None:
        if config is None:
            return None
        day = self._book.session_named(config.day)
        return DeskPortfolio.of(config, models, self._book.markets_with(models), day, epoch)

    def _require_sizes(self, epoch: Epoch, models: Mapping[str, TradedModel]) -> None:
        """Refuse, at the start of an epoch in mode live, a stage of the roll-out that would send nothing.

        Not later in an epoch: sizes follow the market, and a desk in a position must be able to start again.
        """
        if self._wanted_mode == "paper":
            return
        trades = usual_trades(models, self._book.markets, epoch.warmup)
        try:
            require_sizes(self.config.rollout, self._stage, trades, self._units)
        except ConfigError as error:
            if self._wanted_mode == "live":
                raise
            _LOGGER.warning("%s; this holds before mode live can start", error)
        for symbol in models.keys() - trades.keys():
            _LOGGER.warning("%s: windows are not full; the sizes of the roll-out are not checked", symbol)

    def _reconciliation(
        self, mode: Mode, models: Mapping[str, TradedModel], connection: Connection | None
    ) -> Reconciliation | None:
        """Return what compares positions with the broker's, None where they are simulated."""
        if mode != "live":
            return None
        source: Holdings | None = None
        if self.config.positions is not None:
            source = UnitHoldings(PositionsFile(self.config.positions), self._units)
        elif connection is not None and connection.positions is not None:
            source = UnitHoldings(connection.positions, self._units)
        elif self._statement is not None:
            source = FillPositions(self._statement, models)
        sessions = {symbol: self._book.session(symbol) for symbol in models}
        return Reconciliation(sessions, started=self._clock(), source=source)

    def _connection(self, mode: Mode, models: Mapping[str, TradedModel]) -> Connection | None:
        """Return the broker, None in mode paper; in mode shadow it writes messages and does nothing else."""
        settings = self.config.broker
        if mode == "paper" or settings is None:
            return None
        desk = BrokerDesk(
            markets={
                symbol: self._book.market(symbol)
                for symbol in sorted({*map(traded_symbol, models), *self._units})
            },
            secret=self._secrets.read,
            scrub=self._secrets.scrub,
            live=mode == "live",
        )
        connection = settings.connect(desk)
        protected = {symbol: model.config.stop is not None for symbol, model in models.items()}
        ensembles = sorted({traded_symbol(each) for each in models} - models.keys())
        if ensembles and not connection.orders.takes_net:
            raise LiveError(
                f"{ensembles[0]}: is an ensemble, and the broker {connection.orders.name} takes no net "
                "orders; trade it in mode paper, or by a broker that does"
            )
        protected = {symbol: each for symbol, each in protected.items() if traded_symbol(symbol) == symbol}
        protected |= dict.fromkeys(ensembles, False)
        parts = {unit.symbol: protected[unit.of] for unit in self._units.values()}
        connection.orders.check(protected | parts)
        return connection if mode == "live" else Connection(ShadowBroker(connection.orders))

    def _listening(self, connection: Connection | None) -> BrokerFills | None:
        """Return what hears the fills that the broker reports, None where it reports none."""
        if connection is None or connection.fills is None:
            return None
        found = BrokerFills(
            connection.fills,
            seen=reported_ids(self.journal.events(FillReported)),
            since=min(each.started for each in self.journal.epochs()),
            units=self._units,
        )
        self._world.hear(found)
        return found

    def _sending(self, connection: Connection | None) -> dict[str, Any]:
        """Return the fields of the status that only the broker knows."""
        if connection is None:
            return {}
        orders, fills = connection.orders, self._broker_fills
        return {
            "queues": {"orders": orders.waiting},
            "faults": {"sender": orders.faults},
            "fills": fills.trouble if fills else "",
        }

    def _sinks(self) -> list[Sink]:
        """Return the log, and whatever else is configured."""
        others = (each for each in self.config.alerts.sinks if not isinstance(each, LogSinkSettings))
        return [LogSink(), *(each.sink(self._secrets.read) for each in others)]


class _Beating:
    """The watcher, which also keeps the service manager's watchdog quiet."""

    def __init__(self, watcher: Watcher, environment: Mapping[str, str], clock: Callable[[], int]) -> None:
        self._watcher = watcher
        self._environment = environment
        self._clock = clock

    def decided(self, record: SetRecord, *, replayed: bool) -> None:
        """Pass it on; a replay shows how far it is."""
        self._watcher.decided(record, replayed=replayed)
        if replayed:
            self._watcher.replayed(self._clock)

    def happened(self, event: Event, *, replayed: bool) -> None:
        """Pass it on; a start that is no replay means that the engine is ready."""
        self._watcher.happened(event, replayed=replayed)
        if isinstance(event, EngineStarted) and not replayed:
            notify(READY, self._environment)

    def beat(self, *, now: int) -> None:
        """Write the status by wall time, also when a replay's time is another."""
        self._watcher.beat(now=self._clock())
        notify(ALIVE, self._environment)


def _known(engine: Engine) -> dict[str, Any]:
    """Return the fields of the status that only the engine knows."""
    seats = engine.seats.items()
    cold = [
        ColdWindow(symbol, feature, seen, needed)
        for symbol, seat in seats
        for feature, (seen, needed) in seat.windows.filling().items()
    ]
    return {
        "versions": {symbol: seat.model.bundle.version for symbol, seat in seats},
        "pending_swaps": engine.handover.superseded,
        "cold_windows": tuple(cold),
        "quarantined": tuple(map(str, engine.quarantine.waiting)),
        "profit_today": engine.profits(),
        "portfolio": engine.portfolio,
        "unknown_orders": engine.unknown_orders,
        "unreconciled": engine.doubts["unreconciled"],
        "clock": engine.doubts["clock"],
    }
