"""Drawn portfolios through the live engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockstep.features.feature_registry import default_registry
from lockstep.live.engine import Engine
from lockstep.live.messages import Epoch, SetRecord
from lockstep.live.portfolio import DeskPortfolio, begun_with
from lockstep.live.traded import TradedModel
from lockstep.market.history import History, SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.models.bundle import Bundle
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.coordinator import Coordinator
from lockstep.portfolio.state import CoordinatorState, ProposalRecord
from lockstep.strategy.config import StrategyConfig
from support import desks
from support.portfolios import BOOK, World


def traded(symbol: str, config: StrategyConfig) -> TradedModel:
    """Return a strategy as a bundle without a model, as the desk trades it."""
    registry = default_registry()
    return TradedModel.of(
        Bundle(
            symbol=traded_symbol(symbol), target="", pipeline=None, feature_ids=config.feature_ids,
            fingerprints={each: registry.fingerprint(each) for each in config.feature_ids},
            strategy={
                "family": type(config).__name__ if config.family == "ibs" else config.family,
                "config": config.model_dump(mode="json"),
                "config_hash": config.config_hash,
            },
            threshold=None, training={}, metrics={}, golden=desks.bundle().golden,
            sha256=f"{symbol}-{config.config_hash}", version="v1",
        )
    )  # fmt: skip


def models_of(given: World) -> dict[str, TradedModel]:
    """Return the strategies of a world as the desk trades them, sorted by symbol."""
    return {symbol: traded(symbol, given.configs[symbol]) for symbol in given.symbols}


def history_of(given: World) -> History:
    """Return the bars that the lanes of a world trade."""
    keys = {SeriesKey(traded_symbol(name), config.bars) for name, config in given.configs.items()}
    return replace(given.history, bars={key: given.history.bars[key] for key in keys})


def epoch_of(given: World, config: PortfolioConfig, *, warm: int = 0) -> Epoch:
    """Return a first epoch, its windows filled by all bars until the first lane has `warm` of them."""
    models, bars = models_of(given), history_of(given)
    until = int(given.traded(given.symbols[0]).end[warm - 1]) if warm else 0
    filled = {key: tuple(bar for bar in desks.kept(bars, key) if bar[0] <= until) for key in bars.bars}
    epoch = replace(desks.first_epoch(models, bars, 0), warmup=filled)
    return begun_with(epoch, config, models, given.markets)


def engine_of(
    given: World,
    config: PortfolioConfig,
    journal: Any,
    folder: Path,
    *,
    epoch: Epoch | None = None,
    coordinator: type[Coordinator] = Coordinator,
    **setup: Any,
) -> Engine:
    """Return a live engine over the bars of a world.

    coordinator   in place of the usual one, made of what that one is made of
    """
    models = models_of(given)
    begun = epoch or epoch_of(given, config)
    portfolio = DeskPortfolio.of(config, models, given.markets, BOOK.session_named(config.day), begun)
    if coordinator is not Coordinator:
        known = portfolio.coordinator
        terms = [portfolio.terms(symbol, models[symbol]) for symbol in given.symbols]
        portfolio = replace(portfolio, coordinator=coordinator(config, terms, known.calendar, known.state))
    return desks.engine(
        folder, models, journal, history_of(given), epoch=begun, memory=5_000, portfolio=portfolio, **setup
    )


def settled(sets: Sequence[SetRecord]) -> tuple[list[CoordinatorState], list[ProposalRecord]]:
    """Return the states after all sets and all proposals, in their order."""
    found = [each.settled for each in sets if each.settled is not None]
    return [each.state for each in found], [proposal for each in found for proposal in each.proposals]
