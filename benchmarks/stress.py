"""A gap at every open bar of a portfolio: the time of one process, preparation included."""

from __future__ import annotations

from benchmarks.measure import Measured, of_tests, seconds
from lockstep.market.dates import DateRange
from research.backtest.portfolio import PortfolioMember
from research.stress.changes import StressWorld
from research.stress.gaps import GapGround, GapScan
from research.stress.scenarios import GapScenario
from research.sweep.portfolio import PortfolioGround

_BARS, _SHOCKS = 2_500, (-0.2, -0.5, -0.7)


def gaps() -> Measured:
    """Measure three gaps at every open bar of seven instruments: features, entries, fills, gaps."""
    support = of_tests("support.portfolios")
    given = support.world(2, {each: ("1d", _BARS) for each in support.LEVELS})
    members = {
        symbol: PortfolioMember(strategy=config, history=given.history)
        for symbol, config in given.configs.items()
    }
    world, config = StressWorld(members=members, span=DateRange()), support.portfolio_of(given)
    calendar = support.BOOK.session_named(config.day)
    found: list[GapScan] = []

    def run() -> None:
        histories = dict.fromkeys(given.symbols, given.history)
        ground = PortfolioGround.of(given.configs, histories, calendar)
        shocks = [GapScenario(shock=each) for each in _SHOCKS]
        found.append(GapGround.of(world, ground, shocks).scan(config))

    value = seconds(run, runs=3)
    held = int(found[-1].is_open.sum())
    return Measured(
        what=f"gaps at every open bar of {len(given.symbols)} instruments x {_BARS:,} bars",
        value=value,
        unit="s",
        promise=5.0,
        note=f"{held * len(_SHOCKS):,} gaps, {held * len(_SHOCKS) / value:,.0f} a second",
    )
