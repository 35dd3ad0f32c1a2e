"""The optimiser sizes an ensemble as a whole, and its members get their shares of it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from lockstep.market.dates import DateRange
from lockstep.portfolio.config import load_portfolio_config
from research.backtest.portfolio import PortfolioMember, run_portfolio
from research.optimise.lanes import LaneStream
from research.optimise.optimise import OptimisedPortfolio, optimise
from research.optimise.plan import PortfolioPlan
from research.optimise.report import keep
from research.optimise.streams import PortfolioStreams
from support import plans, portfolios
from support.plans import DESIGN
from support.portfolios import BOOK

DRAWN = {each: ("1d", 640) for each in ("CL", "ES#fast", "ES#slow", "GC#a", "GC#b", "GC#c")}
SHARES = {"ES#fast": 0.6, "ES#slow": 0.4, "GC#a": 0.4, "GC#b": 0.3, "GC#c": 0.3}


# Of seed 2 both ensembles size themselves, of seed 3 both have a fixed size.
SEEDS = (2, 3)


@functools.cache
def world(seed: int = 3) -> portfolios.World:
    return portfolios.world(seed, DRAWN)


def planned(seed: int = 3, **changes: Any) -> PortfolioPlan:
    lanes = [
        {"symbol": symbol, "strategy": "drawn.yaml"}
        if names == [symbol]
        else {
            "symbol": symbol,
            "members": [
                {"name": each.partition("#")[2], "strategy": f"{each}.yaml", "share": SHARES[each]}
                for each in names
            ],
        }
        for symbol, names in portfolios.lanes_of(world(seed)).items()
    ]
    return plans.plan_of(world(seed), **{"lanes": lanes, "groups": {}, **changes})


def streams_of(given: portfolios.World) -> dict[str, LaneStream]:
    alone = plans.lanes_of(given)
    return {
        symbol: alone[symbol]
        if names == [symbol]
        else LaneStream.together(symbol, {each: alone[each] for each in names})
        for symbol, names in portfolios.lanes_of(given).items()
    }


@functools.cache
def drawn(seed: int) -> PortfolioStreams:
    return PortfolioStreams.of(planned(seed), streams_of(world(seed)), BOOK)


@functools.cache
def optimised() -> OptimisedPortfolio:
    return optimise(planned(), drawn(3), DESIGN)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_stream_of_an_ensemble_is_that_of_its_shares(seed: int) -> None:
    found = drawn(seed)
    assert found.symbols == ("CL", "ES", "GC")
    plain = plans.plan_of(world(seed), lanes=[{"symbol": "GC", "strategy": "x"}], groups={})
    expected = np.zeros(found.days.size)
    for name in ("GC#a", "GC#b", "GC#c"):
        lane = plans.lanes_of(world(seed))[name]
        alone = PortfolioStreams.of(plain, {"GC": plans.renamed(lane, "GC")}, BOOK)
        place = np.searchsorted(found.days, alone.days)
        expected[place] += SHARES[name] * alone.pnl[:, 0]
    np.testing.assert_allclose(found.pnl[:, 2], expected, atol=1e-6 * np.abs(expected).max())
    assert np.count_nonzero(expected) > 100


def test_members_get_whole_contracts_and_the_file_is_what_cerebro_trades(tmp_path: Path) -> None:
    found = optimised()
    fixed = [name for name in world().symbols if world().configs[name].size.kind == "fixed" and "#" in name]
    assert fixed, "no ensemble of a fixed size was drawn"
    left = keep(found, tmp_path / "configs" / "portfolio_config.yml", tmp_path / "kept")
    config = load_portfolio_config(left.config, BOOK)
    assert config == found.config
    assert set(config.names) == set(world().symbols)
    for name in fixed:
        units = config.lane(name).units
        assert units is not None
        assert units == int(units) > 0
    members = {
        name: PortfolioMember(strategy=world().configs[name], history=world().history)
        for name in config.names
    }
    result = run_portfolio(config, members, BOOK, span=found.streams.dates, verify=True)
    assert abs(result.net_profit - found.profits.sum()) < 1e-6


def test_the_capital_that_is_needed_gives_each_member_a_contract() -> None:
    found = optimised().sizes
    for place, symbol in enumerate(found.symbols):
        step = optimised().streams.steps[place]
        if optimised().streams.lanes[symbol].is_fixed:
            assert found.needed[place] == pytest.approx(optimised().plan.capital * step / found.wanted[place])


def test_members_of_two_kinds_of_size_and_without_common_dates_are_refused() -> None:
    alone = plans.lanes_of(world())
    kinds = {each.is_fixed: name for name, each in alone.items()}
    with pytest.raises(ConfigError, match="members share units or a weight, so give all the same kind"):
        LaneStream.together("ES", {name: alone[name] for name in kinds.values()})
    early = plans.lanes_of(world(), DateRange.of("2019-02-01", "2019-12-31"))
    with pytest.raises(DataError, match="ES: its members have no date out of sample in common"):
        LaneStream.together(
            "ES",
            {
                "ES#fast": early["ES#fast"],
                "ES#slow": plans.lanes_of(world(), DateRange.of("2020-02-01", "2020-12-31"))["ES#slow"],
            },
        )
