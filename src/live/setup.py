"""`Setup`: what an engine is joined of, and how its own parts are made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from lockstep.live.backtrader.broker import GatedBroker, ReportedBroker
from lockstep.live.backtrader.feed import BarSetStage
from lockstep.live.brokers.protocol import OutboundBroker
from lockstep.live.clock_check import ClockVerdict
from lockstep.live.conditions import Doubts
from lockstep.live.events import Event
from lockstep.live.handover import Policy
from lockstep.live.messages import Epoch, OrderIntent, Refusal
from lockstep.live.outbox import Outbox
from lockstep.live.outside import JournalPort, Observer, Outside, SetSource
from lockstep.live.portfolio import DeskPortfolio
from lockstep.live.reconciliation import Reconciliation
from lockstep.live.risk.gateway import DeskGate, Gateway
from lockstep.live.risk.rollout import scaled
from lockstep.live.traded import Seat, TradedModel
from lockstep.live.units import OutwardUnits, SmallerUnit
from lockstep.market.history import Market
from lockstep.market.open_hours import next_open
from lockstep.strategy.decision import EXIT_DAILY_LOSS, HOLD
from lockstep.strategy.matching import CASH

Exposure = Callable[[], tuple[Mapping[str, float], Mapping[str, float]]]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything that an engine is joined of.

    models     by symbol, those of an ensemble's members by the names of their lanes, as the epoch began
    markets    of all lanes by their names, and of all symbols that are read
    broker     takes orders that leave the house; None in mode paper
    policies   how an open position is handed over, by symbol
    flatten    whether HALT closes what is open
    fraction   of the decided size that mode live sends, as the epoch began; see `rollout.py`
    units      in which orders leave, as the epoch began
    expire     ns after which an order that never left is not sent any more
    stop_after number of sets after which the engine stops by itself; None for never
    portfolio  admits the entries of all lanes; None: every instrument trades alone
    reconciliation, clock   what has to be settled before mode live opens anything; None elsewhere
    """

    epoch: Epoch
    models: Mapping[str, TradedModel]
    markets: Mapping[str, Market]
    journal: JournalPort
    source: SetSource
    gateway: Gateway
    outside: Outside
    observer: Observer
    now: Callable[[], int]
    broker: OutboundBroker | None = None
    policies: Mapping[str, Policy]
    memory: int
    flatten: bool = False
    fraction: float = 1.0
    units: OutwardUnits = field(default_factory=OutwardUnits)
    expire: int = 3_600_000_000_000
    stop_after: int | None = None
    portfolio: DeskPortfolio | None = None
    reconciliation: Reconciliation | None = None
    clock: Callable[[int], ClockVerdict] | None = None

    def seat(self, symbol: str, stage: BarSetStage) -> Seat:
        """Return the seat of an instrument as the epoch began."""
        model, state = self.models[symbol], self.epoch.states.get(symbol)
        if self.portfolio is None:
            return Seat(model, stage, self.markets, state, name=symbol)
        required = EXIT_DAILY_LOSS if self.portfolio.is_leaving(symbol) else HOLD
        factor = self.portfolio.terms(symbol, model).factor
        return Seat(model, stage, self.markets, state, name=symbol, factor=factor, required=required)

    def gate(
        self, seats: Mapping[str, Seat], *, exposure: Exposure, doubts: Callable[[int], Doubts]
    ) -> DeskGate:
        """Return the gate that every order passes; arguments as of `DeskGate`."""
        return DeskGate(
            self.gateway,
            {symbol: self.markets[symbol] for symbol in seats},
            traded={name: seat.model.key for name, seat in seats.items()},
            equity={symbol: self._opening_equity(symbol) for symbol in seats},
            day=self.portfolio.coordinator.calendar if self.portfolio else None,
            exposure=exposure,
            doubts=doubts,
            now=self.now,
        )

    def outbox(
        self, commit: Callable[[Event], object], review: Callable[[OrderIntent], Refusal | None]
    ) -> Outbox | None:
        """Return what lets orders leave, None in mode paper; arguments as of `Outbox`."""
        if self.broker is None:
            return None
        return Outbox(
            self.broker,
            commit,
            due=lambda symbol, moment: next_open(self.markets[symbol].session, moment),
            review=review,
            expire=self.expire,
        )

    def inner_broker(
        self,
        stage: BarSetStage,
        gate: DeskGate,
        *,
        version: Callable[[str], str],
        passed: Callable[[OrderIntent], None],
        sized: Callable[[OrderIntent], OrderIntent | Refusal],
    ) -> GatedBroker:
        """Return the broker inside Cerebro: fills are reported in mode live, else simulated."""
        kind = ReportedBroker if self.epoch.mode == "live" else GatedBroker
        return kind(stage, gate, order_id=self.order_id, version=version, passed=passed, sized=sized)

    def sized(
        self, intent: OrderIntent, fraction: float, unit: SmallerUnit | None = None
    ) -> OrderIntent | Refusal:
        """Return an order in its unit, at a fraction of its size in mode live, or why nothing is left."""
        intent = intent if unit is None else replace(intent, unit=unit)
        if self.epoch.mode != "live" or fraction == 1.0:
            return intent
        return scaled(intent, fraction, self.markets[intent.symbol].instrument.size_step)

    def order_id(self, symbol: str, decision: int, intent: str) -> str:
        """Return the id of an order, which is the same after every restart."""
        return f"{self.epoch.number}-{self.epoch.mode}-{symbol}-{decision}-{intent}-1"

    def _opening_equity(self, symbol: str) -> float:
        state = self.epoch.states.get(symbol)
        return state.account[CASH] if state else self.models[symbol].config.capital
