"""What an event does: carried out once it is journaled, and again whenever a replay reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

from lockstep.live.backtrader.broker import GatedBroker, ReportedBroker
from lockstep.live.conditions import Conditions
from lockstep.live.events import (
    BarIrregular,
    BarJudged,
    ClockJudged,
    CommandRefused,
    EngineStarted,
    EngineStopped,
    Event,
    ExitAtNextBar,
    ExitWithoutBar,
    FillReported,
    ModelSwapped,
    OrderAcknowledged,
    OrderRefused,
    OrderRejected,
    OrderResolved,
    OrderSent,
    OrdersNetted,
    OrderSuppressed,
    OrderUnknown,
    OrderWithdrawn,
    PortfolioResumed,
    PositionAgreed,
    PositionDiffers,
    PositionSeen,
    RolloutMoved,
    SwapPending,
    SwapWithdrawn,
)
from lockstep.live.handover import Handover, wanted_by
from lockstep.live.messages import OrderIntent
from lockstep.live.operator.commands import reported_fill
from lockstep.live.operator.open_orders import Reports
from lockstep.live.outbox import Outbox, Settled
from lockstep.live.quarantine import Quarantine, series_key
from lockstep.live.setup import Setup
from lockstep.live.traded import Memory, Seat
from lockstep.strategy.backtrader.strategy import ParityStrategy
from lockstep.strategy.decision import HOLD


class Effects:
    """Carries out events, and keeps what follows from events alone.

    quarantine   bars that wait for the operator; reports   fills that no bar has booked yet
    fraction     of the decided size that mode live sends; units   in which orders leave
    left         by symbol, the bar for which an exit was last sent without one

    strategies   the running ones by symbol; place   hands over orders whose reason is committed
    """

    def __init__(
        self,
        setup: Setup,
        *,
        seats: Mapping[str, Seat],
        strategies: Callable[[], Mapping[str, ParityStrategy]],
        memory: Memory,
        broker: GatedBroker,
        outbox: Outbox | None,
        handover: Handover,
        conditions: Conditions,
        place: Callable[[], None],
    ) -> None:
        self._setup = setup
        self._seats = seats
        self._strategies = strategies
        self._memory = memory
        self._broker = broker
        self._outbox = outbox
        self._handover = handover
        self._conditions = conditions
        self._place = place
        self.quarantine = Quarantine()
        self.reports = Reports()
        self.fraction = setup.fraction
        self.units = setup.units
        self.left: dict[str, int] = {}

    def carry_out(self, event: Event, *, replayed: bool) -> None:
        """Do what an event says: the one place that tells events apart.

        A replay also repeats the steps of orders and of versions that wait; a live engine had taken them when
        it journaled them.
        """
        match event:
            case OrderSent() | OrderAcknowledged() | OrderRejected() | OrderUnknown():
                if replayed:
                    self._repeat(event)
            case SwapPending() | SwapWithdrawn():
                if replayed:
                    self._handover.consider(self._seats[event.symbol], wanted_by(event))
            case ModelSwapped():
                self._swap(event)
            case ExitAtNextBar():
                self._strategies()[event.symbol].require_exit(event.code)
            case ExitWithoutBar():
                self._leave(event)
            case FillReported():
                self._report(event)
            case OrderWithdrawn():
                self._take_back(event)
            case OrderResolved():
                self._resolve(event)
            case BarIrregular():
                self.quarantine.happened(event)
            case BarJudged():
                self.quarantine.happened(event)
                if not replayed:
                    self._setup.source.decide(series_key(event.key), event.end, event.decision)
            case PositionSeen():
                self._conditions.hear(event)
            case RolloutMoved():
                self.fraction = event.fraction
                self.units = self.units.moved(event.units or {})
            case PortfolioResumed():
                assert self._setup.portfolio is not None
                self._setup.portfolio.coordinator.resume()
            case EngineStarted() | EngineStopped() | CommandRefused() | OrderRefused() | OrderSuppressed():
                pass
            case OrdersNetted():
                pass
            case PositionAgreed() | PositionDiffers() | ClockJudged():
                pass
            case _:
                assert_never(event)

    def withdraw(self, intent: OrderIntent) -> None:
        """Take an order that was rejected, or never placed, out of the account that waits for its fill."""
        if isinstance(self._broker, ReportedBroker):
            self._broker.withdraw(self._seats[intent.symbol].lane.feed, intent.order_id)

    def _repeat(self, event: OrderSent | Settled) -> None:
        if self._outbox is None:
            return
        intent = self._outbox.intent(event.order_id)
        self._outbox.replay(event)
        if isinstance(event, OrderRejected) and intent is not None:
            self.withdraw(intent)

    def _swap(self, event: ModelSwapped) -> None:
        seat = self._seats[event.symbol]
        model = self._setup.outside.model(event.symbol, event.to_sha256)
        strategy = self._strategies()[event.symbol]
        factor = 1.0
        if (portfolio := self._setup.portfolio) is not None:
            factor = portfolio.take_over(event.symbol, model).factor
        strategy.change(seat.change(model, self._memory.bars, factor=factor))
        strategy.require_exit(HOLD)
        self._handover.candidates.pop(event.symbol, None)

    def _leave(self, event: ExitWithoutBar) -> None:
        self.left[event.symbol] = event.decision
        self._strategies()[event.symbol].leave_now(event.code, event.decision)
        self._place()

    def _report(self, event: FillReported) -> None:
        self.reports.add(event)
        if self._outbox is not None and event.order == "market":
            self._outbox.filled(event.order_id)
        if isinstance(self._broker, ReportedBroker):
            self._broker.report(self._seats[event.symbol].lane.feed, reported_fill(event))

    def _take_back(self, event: OrderWithdrawn) -> None:
        if self._outbox is not None:
            self._outbox.withdraw(event.order_id)
        self._broker.withdraw(self._seats[event.symbol].lane.feed, event.order_id)

    def _resolve(self, event: OrderResolved) -> None:
        intent = self._outbox.resolve(event.order_id) if self._outbox is not None else None
        if intent is not None and event.outcome == "not_placed":
            self.withdraw(intent)
