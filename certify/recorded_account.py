"""What a portfolio decided, decided again: each set of a journal through a coordinator of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from certify.recorded_report import AccountSkew
from lockstep.live.events import Event, ModelSwapped, OrderWithdrawn, PortfolioResumed
from lockstep.live.journal.journal import Journal
from lockstep.live.messages import Epoch, LaneRecord, LaneState, SetRecord
from lockstep.live.portfolio import DeskPortfolio
from lockstep.live.traded import TradedModel
from lockstep.market.config import InstrumentBook
from lockstep.market.history import Market
from lockstep.market.instrument import traded_symbol
from lockstep.monitoring.parity import settled_differences
from lockstep.portfolio.config import PortfolioConfig
from lockstep.strategy.admission import LaneNews, LaneStanding
from lockstep.strategy.matching import CLOSE, POSITION, opening_account
from lockstep.strategy.records import ENTRY
from lockstep.strategy.sizing import measured

_FLAT = 0.0
_SIMULATED = ("paper", "shadow")


def check_account(
    journal: Journal, models: Mapping[str, TradedModel], markets: Mapping[str, Market], book: InstrumentBook
) -> AccountSkew | None:
    """Settle every set of the epochs that traded a portfolio again; None where none did.

    models   by SHA-256. What the lanes proposed and held is taken as recorded: the decisions of lanes are
             another check's. In mode live a fill is booked between two bars of its lane, where no record
             tells the account: those epochs are compared by the engine at its restarts, and counted here
    """
    found: AccountSkew | None = None
    for epoch in journal.epochs():
        if epoch.portfolio is None:
            continue
        found = found or AccountSkew()
        if epoch.mode not in _SIMULATED:
            found = found.with_(unsettled=journal.count_sets(epoch.number))
            continue
        again = _Again.of(epoch, models, markets, book)
        for entry in journal.entries(epoch.number):
            difference = again.take(entry)
            if isinstance(entry, SetRecord) and entry.settled is not None:
                found = found.with_(sets=1, proposals=len(entry.settled.proposals), first=difference)
    return found


@dataclass
class _Again:
    """A coordinator that hears what the recorded one heard."""

    portfolio: DeskPortfolio
    seats: dict[str, TradedModel]
    models: Mapping[str, TradedModel]
    states: dict[str, LaneState]
    withdrawn: set[str] = field(default_factory=set)

    @classmethod
    def of(
        cls, epoch: Epoch, models: Mapping[str, TradedModel], markets: Mapping[str, Market],
        book: InstrumentBook,
    ) -> _Again:  # fmt: skip
        assert epoch.portfolio is not None
        config = PortfolioConfig.model_validate(epoch.portfolio.content)
        seats = {symbol: models[epoch.bundles[symbol]] for symbol in config.names}
        named = {name: markets[traded_symbol(name)].named(name) for name in config.names}
        day = book.session_named(config.day)
        states = {
            symbol: epoch.states.get(symbol) or LaneState(account=opening_account(each.config.capital))
            for symbol, each in seats.items()
        }
        portfolio = DeskPortfolio.of(config, seats, {**markets, **named}, day, epoch)
        return cls(portfolio=portfolio, seats=seats, models=models, states=states)

    def take(self, entry: SetRecord | Event) -> str:
        """Take an entry; return the first thing in which a set comes out differently, empty for none."""
        if isinstance(entry, SetRecord):
            return self._settle(entry)
        if isinstance(entry, ModelSwapped):
            self.seats[entry.symbol] = self.models[entry.to_sha256]
            self.portfolio.take_over(entry.symbol, self.seats[entry.symbol])
        elif isinstance(entry, OrderWithdrawn):
            self.withdrawn.add(entry.order_id)
        elif isinstance(entry, PortfolioResumed):
            self.portfolio.coordinator.resume()
        return ""

    def _settle(self, row: SetRecord) -> str:
        lanes = {each.symbol: each for each in row.lanes}
        self.states |= {symbol: each.state for symbol, each in lanes.items()}
        recorded = row.settled
        if recorded is None:
            return ""
        proposed = {each.symbol: each.side * each.base for each in recorded.proposals}
        symbols, stamp = self.portfolio.coordinator.symbols, row.release.stamp
        self.portfolio.coordinator.settle(
            stamp,
            [self._news(lanes.get(each), row, proposed.get(each, 0.0)) for each in symbols],
            [self._standing(each, stamp, new=each in lanes) for each in symbols],
        )
        difference = next(settled_differences(recorded, self.portfolio.coordinator.take(), stamp), None)
        return str(difference) if difference else ""

    def _news(self, lane: LaneRecord | None, row: SetRecord, quantity: float) -> LaneNews | None:
        if lane is None:
            return None
        model, coordinator = self.seats[lane.symbol], self.portfolio.coordinator
        values = np.frombuffer(lane.vector, dtype="<f8")

        def value(name: str) -> float:
            return float(values[model.plan.ids.index(name)]) if name else math.nan

        return LaneNews(
            row.release.bars[model.key][CLOSE],
            value(coordinator.volatility_id),
            float(measured(values, self.portfolio.terms(lane.symbol, model).sizing)),
            lane.probability,
            value(coordinator.rank_id),
            quantity,
        )

    def _standing(self, symbol: str, stamp: int, *, new: bool) -> LaneStanding:
        """Return how a lane stood when the set was settled: before what was admitted now was sent."""
        state = self.states[symbol]
        waiting = state.waiting
        enters = (
            waiting is not None
            and waiting.intent == ENTRY
            and state.account[POSITION] == _FLAT
            and not (new and waiting.decision == stamp)
            and waiting.order_id not in self.withdrawn
        )
        return LaneStanding(state.account, enters)
