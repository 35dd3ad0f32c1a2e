"""What `lockstep stress` runs: a portfolio's file, or one strategy as an account of one lane."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lockstep.market.config import InstrumentBook
from lockstep.market.dates import DateRange
from lockstep.models.store import ModelStore
from lockstep.portfolio.config import PortfolioConfig, PortfolioLane, load_portfolio_config
from lockstep.strategy.config import FixedSize
from lockstep.strategy.family import load_strategy
from research.backtest.portfolio import PortfolioMember
from research.backtest_runner import HistoryRunner
from research.ledger.versions import TradedVersion


@dataclass(frozen=True, kw_only=True)
class LoadedPortfolio:
    """A portfolio with what its lanes trade, on their bars."""

    config: PortfolioConfig
    members: Mapping[str, PortfolioMember]
    book: InstrumentBook


@dataclass(frozen=True, kw_only=True)
class PortfolioLoader:
    """Loads portfolios as a backtest does: looks at sealed dates are counted, rejected rows are told."""

    runner: HistoryRunner

    @classmethod
    def of(
        cls, *, data_dir: Path | None, source: str | None, span: DateRange, console: Console
    ) -> PortfolioLoader:
        """Return a loader; the arguments are the options of the same names."""
        runner = HistoryRunner(
            data_dir=data_dir, source=source, span=span, quarantine=False, seed=0, engine=None, verify=False,
            console=console,
        )  # fmt: skip
        return cls(runner=runner)

    def portfolio(self, path: Path, store: ModelStore) -> LoadedPortfolio:
        """Return the portfolio of a file; ConfigError, DataError or ModelError where it cannot be loaded."""
        config = load_portfolio_config(path, self.runner.book)
        members = self.runner.members(config, path.parent, store)
        return LoadedPortfolio(config=config, members=members, book=self.runner.book)

    def single(self, symbol: str, strategy: Path, version: str, store: ModelStore) -> LoadedPortfolio:
        """Return one strategy, or a version of the store, as an account of one lane without limits."""
        book = self.runner.book
        settings = TradedVersion.load(symbol, version, store).config if version else load_strategy(strategy)
        size, market = settings.size, book.market(symbol)
        lane = PortfolioLane(
            symbol=symbol,
            version=version or None,
            strategy=None if version else str(strategy.resolve()),
            units=size.contracts if isinstance(size, FixedSize) else None,
            weight=None if isinstance(size, FixedSize) else 1.0,
        )
        config = PortfolioConfig(
            name=f"{symbol}-{settings.name}", capital=settings.capital, day=market.instrument.session,
            lanes=(lane,),
        )  # fmt: skip
        members = self.runner.members(config, Path(), store)
        return LoadedPortfolio(config=config, members=members, book=book)
