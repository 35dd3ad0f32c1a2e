"""The portfolio that a desk trades: what its lanes ask for, and the coordinator that admits their entries.

The gateway's limits stay the last guard. They have to be looser than the portfolio's: an order that was
admitted and then refused would be one that no backtest knows of.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from lockstep.errors import ConfigError, JournalError
from lockstep.live.journal.reader import JournalReader
from lockstep.live.messages import Epoch, EpochPortfolio, LaneState
from lockstep.live.risk.limits import Limits
from lockstep.live.traded import Kept, TradedModel
from lockstep.market.history import Market
from lockstep.market.session_template import MINUTES_PER_DAY
from lockstep.market.sessions import Session
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.coordinator import Coordinator, LaneStart, opening_state
from lockstep.portfolio.state import CoordinatorState
from lockstep.portfolio.terms import LaneTerms
from lockstep.strategy.matching import CLOSE, POSITION, QUANTITY
from lockstep.strategy.records import ENTRY

HASH = "portfolio"
"""Name of the portfolio's hash among those that an epoch is begun with."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DeskPortfolio:
    """A portfolio with the coordinator that a running desk asks."""

    config: PortfolioConfig
    markets: Mapping[str, Market]
    coordinator: Coordinator

    @classmethod
    def of(
        cls,
        config: PortfolioConfig,
        models: Mapping[str, TradedModel],
        markets: Mapping[str, Market],
        day: Session,
        epoch: Epoch,
    ) -> DeskPortfolio:
        """Return the portfolio as an epoch finds it; JournalError where the epoch was begun without one."""
        if epoch.portfolio is None:
            raise JournalError(
                f"epoch {epoch.number} of the journal was begun without a portfolio; begin a new one: "
                "lockstep journal new-epoch --reason ..."
            )
        terms = lane_terms(config, models, markets)
        coordinator = Coordinator(config, terms, day, epoch.portfolio.state)
        return cls(config=config, markets=markets, coordinator=coordinator)

    def terms(self, name: str, model: TradedModel) -> LaneTerms:
        """Return what a model asks for in the lane of that name; ConfigError where it does not fit there."""
        return _terms(self.config, name, model, self.markets)

    def take_over(self, name: str, model: TradedModel) -> LaneTerms:
        """Let a model trade a lane from now on, and return what it asks for."""
        terms = self.terms(name, model)
        self.coordinator.change(terms)
        return terms

    def is_leaving(self, symbol: str) -> bool:
        """Return whether the position of a lane must leave because everything open must."""
        return next(each.leaving for each in self.coordinator.state.lanes if each.symbol == symbol)


def lane_terms(
    config: PortfolioConfig, models: Mapping[str, TradedModel], markets: Mapping[str, Market]
) -> list[LaneTerms]:
    """Return what the models ask for, sorted by name; ConfigError where one does not fit its lane.

    models, markets   by the names of the lanes
    """
    return [_terms(config, name, models[name], markets) for name in config.names]


def _terms(
    config: PortfolioConfig, name: str, model: TradedModel, markets: Mapping[str, Market]
) -> LaneTerms:
    return LaneTerms.of(config, markets[name], model.config, model.veto)


def begun_with(
    epoch: Epoch,
    config: PortfolioConfig,
    models: Mapping[str, TradedModel],
    markets: Mapping[str, Market],
    before: EpochPortfolio | None = None,
    gone: Mapping[str, LaneState] | None = None,
) -> Epoch:
    """Return an epoch that is about to begin with the state of its portfolio.

    before   the portfolio of the epoch before, as it ended; gone: states of lanes that only that one had
    """
    found = {
        symbol: LaneStart(state.account, _room(state), _newest_close(epoch.warmup, models.get(symbol)))
        for symbol, state in {**(gone or {}), **epoch.states}.items()
    }
    earlier = None
    if before is not None:
        earlier = (float(before.content["capital"]), before.state)
    state = opening_state(config, lane_terms(config, models, markets), found, earlier)
    return replace(epoch, portfolio=EpochPortfolio(config.model_dump(mode="json"), state))


def _room(state: LaneState) -> float:
    waiting = state.waiting
    if waiting is not None and waiting.intent == ENTRY:
        return float(waiting.terms[QUANTITY])
    return float(state.account[POSITION])


def _newest_close(bars: Kept, model: TradedModel | None) -> float:
    kept = bars.get(model.key) if model is not None else None
    return float(kept[-1][1][CLOSE]) if kept else math.nan


def ended_with(journal: JournalReader, epoch: Epoch | None) -> EpochPortfolio | None:
    """Return the portfolio of the newest epoch with its newest recorded state, None without one."""
    if epoch is None or epoch.portfolio is None:
        return None
    newest: CoordinatorState | None = journal.newest_settled(epoch.number)
    return epoch.portfolio._replace(state=newest) if newest else epoch.portfolio


def require_tradable(
    limits: Limits,
    portfolio: PortfolioConfig,
    models: Mapping[str, TradedModel],
    markets: Mapping[str, Market],
) -> None:
    """Refuse (ConfigError) models that do not fit their lanes, and limits that could stop what is admitted.

    limits   of the gateway; models, markets: by the names of the lanes
    """
    lane_terms(portfolio, models, markets)
    for problem in _tighter(limits, portfolio, models):
        raise ConfigError(
            f"limits.{problem}: the gateway is the last guard and must be looser than the portfolio "
            f"{portfolio.name}, or an order could be refused that every backtest admits"
        )


def _tighter(limits: Limits, portfolio: PortfolioConfig, models: Mapping[str, TradedModel]) -> Iterator[str]:
    rules, capital = portfolio.limits, portfolio.capital
    most, worth = {}, {}
    for lane in portfolio.lanes:
        symbol = lane.symbol
        most[symbol] = min(_or_infinite(lane.units), _or_infinite(lane.max_contracts))
        groups = [each for each in portfolio.groups.values() if symbol in each.symbols]
        grosses = (lane.weight_cap, rules.max_gross, *(each.max_gross for each in groups))
        worth[symbol] = min(map(_or_infinite, grosses)) * capital
        allowed = limits.by_symbol.get(symbol, limits.max_contracts)
        name = "by_symbol" if symbol in limits.by_symbol else "max_contracts"
        yield from _bound(f"{name} {allowed:g}", most[symbol], allowed, f"{symbol}: lanes.max_contracts")
        if limits.max_notional is not None:
            yield from _bound(
                f"max_notional {limits.max_notional:g}", worth[symbol], limits.max_notional,
                f"{symbol}: lanes.weight_cap or limits.max_gross",
            )  # fmt: skip
    for name in portfolio.names:
        bars = models[name].config.bars
        daily = 1 if bars.is_session else math.ceil(MINUTES_PER_DAY / bars.minutes)
        yield from _bound(
            f"max_orders_per_day {limits.max_orders_per_day}", daily, limits.max_orders_per_day,
            f"{name}: a bar may lead to an order, and {bars} has {daily} a day; it",
        )  # fmt: skip
    largest = sorted(most.values(), reverse=True)[: rules.max_positions]
    yield from _bound(
        f"max_total_contracts {limits.max_total_contracts:g}",
        min(sum(largest), _or_infinite(rules.max_total_contracts)), limits.max_total_contracts,
        "the portfolio's limits.max_total_contracts",
    )  # fmt: skip
    if limits.max_total_notional is not None:
        yield from _bound(
            f"max_total_notional {limits.max_total_notional:g}", _or_infinite(rules.max_gross) * capital,
            limits.max_total_notional, "the portfolio's limits.max_gross",
        )  # fmt: skip
    stop = rules.daily_loss.fraction * capital if rules.daily_loss else math.inf
    if not stop < limits.max_daily_loss:
        told = f"stops at a loss of {stop:g} USD" if rules.daily_loss else "has no limits.daily_loss"
        yield f"max_daily_loss {limits.max_daily_loss:g} USD: must be more than the portfolio's, which {told}"


def _bound(what: str, admitted: float, allowed: float, knob: str) -> Iterator[str]:
    """Yield what is wrong where more may be admitted than is allowed."""
    if admitted <= allowed:
        return
    if math.isinf(admitted):
        yield f"{what}: the portfolio has no such limit; set {knob} to {allowed:g} or less"
    else:
        yield f"{what}: {knob} may be {admitted:g}; raise the one or lower the other"


def _or_infinite(limit: float | None) -> float:
    return math.inf if limit is None else float(limit)
