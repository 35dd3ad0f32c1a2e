"""Lanes of a portfolio in one Cerebro against single runs, and how many portfolios the compiled twin runs."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.measure import Measured, least_cpu, of_tests, ratio
from benchmarks.workload import CONFIG, HOURLY, hourly_bars
from lockstep.market.config import load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.portfolio.config import PortfolioConfig
from research.backtest.portfolio import PortfolioMember, run_portfolio
from research.backtest.run import run_backtest
from research.sweep.portfolio import PortfolioGround, sweep_portfolio

_SYMBOLS = ("ES", "NQ", "RTY", "YM")
_BARS = 20_000
_VOLATILITY = "realised_vol_20_252"
_DAYS, _CONFIGURATIONS = 2_500, 400


def together() -> Measured:
    """Measure four lanes with every kind of limit against four single runs, features included."""
    book, own = load_instruments(), hourly_bars(_BARS)
    strategy = CONFIG.replaced(features=[*CONFIG.features, _VOLATILITY])
    members = {}
    for symbol in _SYMBOLS:
        bars = {SeriesKey(symbol, own.timeframe): replace(own, symbol=symbol)}
        history = History(bars=bars, markets={symbol: book.market(symbol)})
        members[symbol] = PortfolioMember(strategy=strategy, history=history)
    config = PortfolioConfig.model_validate(
        {
            "name": "bench",
            "capital": 400_000.0,
            "day": "CME",
            "lanes": [{"symbol": each, "strategy": "x.yaml", "units": 1} for each in _SYMBOLS],
            "limits": {
                "max_positions": 4,
                "max_gross": 100.0,
                "volatility": {"target": 100.0, "id": _VOLATILITY},
                "daily_loss": {"fraction": 1.0},
                "drawdown": {"window": 252, "tiers": [{"at": 0.9, "scale": 0.5}]},
            },
            "correlation": {
                "symbols": _SYMBOLS,
                "matrix": [[1.0 if one == other else 0.8 for one in _SYMBOLS] for other in _SYMBOLS],
            },
        }
    )
    value, lanes, single = ratio(
        lambda: run_portfolio(config, members, book),
        lambda: [run_backtest(strategy, members[each].history, each) for each in _SYMBOLS],
        runs=3,
    )
    bars_run = _BARS * len(_SYMBOLS)
    return Measured(
        what=f"four lanes with limits / four single runs, {HOURLY} bars", value=value, unit="x", promise=1.3,
        note=f"{bars_run / lanes:,.0f} against {bars_run / single:,.0f} bars/s",
    )  # fmt: skip


def configurations() -> Measured:
    """Measure portfolios of seven instruments, each limit on or off, on one core; their making included."""
    support = of_tests("support.portfolios")
    world = support.with_margins(support.world(2, {each: ("1d", _DAYS) for each in support.LEVELS}))
    drawn = [support.drawn_portfolio(world, seed) for seed in range(_CONFIGURATIONS)]
    histories, calendar = {each: world.history for each in world.symbols}, support.BOOK.session_named("CME")
    grounds: list[PortfolioGround] = []

    def prepare() -> None:
        found = PortfolioGround.of(
            world.configs, histories, calendar, volatility=_VOLATILITY, score=_VOLATILITY
        )
        grounds.append(found)

    preparing, ground = least_cpu(prepare, runs=1), grounds[0]
    return Measured(
        what=f"portfolios of {len(world.symbols)} instruments x {_DAYS:,} bars, one core",
        value=len(drawn) / least_cpu(lambda: sweep_portfolio(ground, drawn, jobs=1)),
        unit="/s",
        promise=600.0,
        note=f"{len(ground.stamps):,} bar sets; entries and fills took {preparing:.1f} s before; CPU time",
        more_is_better=True,
    )
