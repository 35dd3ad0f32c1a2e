"""A portfolio over history: lanes as of single runs, one account above them, a folder that proves itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lockstep.errors import ConfigError, EngineMismatch
from lockstep.market.dates import DateRange
from lockstep.portfolio import rules
from lockstep.portfolio.config import PortfolioConfig
from lockstep.strategy import decision as d
from research.backtest import portfolio_engine as run
from research.backtest.portfolio import (
    PortfolioMember,
    PortfolioResult,
    portfolio_lines,
    run_portfolio,
)
from research.backtest.run import run_backtest
from research.sweep import portfolio_loop as twin
from research.sweep.portfolio import PortfolioGround, PortfolioTrace, trace_portfolio
from support import portfolios
from support.engines import folders_but_for_the_engine
from support.portfolios import BOOK

WORLD = portfolios.world(2, {"BTC-USD": ("1d", 120), "CL": ("1d", 90), "ES": ("1d", 90), "SPY": ("1h", 500)})


def members(**changes: Any) -> dict[str, PortfolioMember]:
    return {
        symbol: PortfolioMember(strategy=config.replaced(**changes), history=WORLD.history)
        for symbol, config in WORLD.configs.items()
    }


def ran(**settings: Any) -> PortfolioResult:
    return run_portfolio(portfolios.portfolio_of(WORLD, **settings), members(), BOOK)


def as_alone() -> PortfolioConfig:
    """Return a portfolio whose sizes are those that each strategy has alone."""
    lanes = []
    for symbol, config in sorted(WORLD.configs.items()):
        size = config.size
        own = {"units": size.contracts} if size.kind == "fixed" else {"weight": 1.0}
        lanes.append({"symbol": symbol, "strategy": "x.yaml", **own})
    weighted = [each for each in lanes if "weight" in each]
    for each in weighted:
        each["weight"] = 1.0 / len(weighted)
    return portfolios.portfolio_of(WORLD, lanes=lanes, capital=1_000_000.0 * len(weighted))


def test_without_limits_every_lane_is_its_single_run_and_equities_add_up() -> None:
    config = as_alone()
    result = run_portfolio(config, members(), BOOK)
    total = pd.Series(config.capital, index=result.equity.index)
    for symbol, lane in result.lanes.items():
        alone = run_backtest(WORLD.configs[symbol], WORLD.history, symbol)
        for name, frame in alone.frames.items():
            mine, theirs = lane.frames[name], frame
            if name == "orders":
                mine, theirs = mine.drop(columns="reference"), theirs.drop(columns="reference")
            pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
        assert len(alone.trades) > 5
        assert lane.provenance["run_hash"] != alone.provenance["run_hash"]
        own = alone.equity["equity"] - WORLD.configs[symbol].capital
        own.index = pd.DatetimeIndex(own.index).as_unit("ns")
        total = total + own.reindex(total.index).ffill().fillna(0.0)
    np.testing.assert_allclose(result.equity["equity"], total, rtol=0, atol=1e-6)
    assert result.refusals == {}
    assert "no limit refused anything" in portfolio_lines(result)[1]


def test_refusals_are_those_of_the_lanes_decisions() -> None:
    result = ran(limits={"max_positions": 1, "daily_loss": {"fraction": 0.001}})
    codes = np.concatenate([lane.decisions["code"] for lane in result.lanes.values()])
    assert sum(result.refusals.values()) == int((codes >= d.REFUSED).sum()) > 50
    assert set(result.refusals) == {"positions", "daily_loss"}
    assert len(result.proposals) == int(np.isin(codes, list(d.ENTRIES)).sum()) + sum(result.refusals.values())
    assert f"positions {result.refusals['positions']:,}" in portfolio_lines(result)[1]
    admitted = result.proposals[result.proposals["rule"] == ""]
    assert (admitted["quantity"] != 0).all()
    assert result.max_drawdown > 0.0


def test_a_halt_is_dated_and_ends_entries() -> None:
    result = ran(limits={"drawdown": {"window": 30, "halt": 0.004}})
    assert result.halted_on is not None
    after = result.equity["session_date"] > pd.Timestamp(result.halted_on)
    assert result.equity["halted"][after].all()
    assert result.refusals.keys() == {"halted"}
    assert f"halted on {result.halted_on}" in portfolio_lines(result)[-1]


def test_the_folder_is_the_same_twice_and_another_for_another_limit(tmp_path: Path) -> None:
    folders = [ran(limits={"max_positions": 1}).save(tmp_path / name) for name in "ab"]
    contents = [
        {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in folders
    ]
    assert contents[0] == contents[1]
    account = {"equity.parquet", "proposals.parquet", "metrics.json", "provenance.json", "tearsheet.html"}
    assert account | {"lanes/ES/trades.parquet"} <= contents[0].keys()
    assert folders[0].name == folders[1].name != ran(limits={"max_positions": 2}).name


def test_the_compiled_twin_agrees_and_a_difference_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    config = portfolios.drawn_portfolio(WORLD, 3)
    span = DateRange.of("2019-02-01", "2019-04-30")
    result = run_portfolio(config, members(), BOOK, span=span, verify=True)
    assert len(result.proposals) > 20
    assert (
        f"both engines agree on {len(result.equity):,} bar sets" in portfolio_lines(result, verified=True)[-1]
    )

    def traced(column: int, where: str) -> Any:
        def changed(ground: PortfolioGround, asked: PortfolioConfig) -> PortfolioTrace:
            found = trace_portfolio(ground, asked)
            getattr(found, where)[7, column] += 1.0
            return found

        return changed

    for column, where, told in (
        (twin.F_PRICE, "fills", r"the price of a fill of [\w-]+ is [\d.]+ in the compiled one, [\d.]+ in"),
        (rules.EQUITY, "states", "the portfolio's equity is"),
        (twin.P_BASE, "proposals", "its own size is"),
    ):
        monkeypatch.setattr(run, "trace_portfolio", traced(column, where))
        with pytest.raises(EngineMismatch, match=rf"portfolio drawn: the engines part at .*{told}"):
            run_portfolio(config, members(), BOOK, span=span, verify=True)


class TestEngines:
    CONFIG = portfolios.drawn_portfolio(WORLD, 3)

    def test_they_leave_the_same_folder(self, tmp_path: Path) -> None:
        for engine in ("backtrader", "compiled"):
            run_portfolio(self.CONFIG, members(), BOOK, engine=engine).save(tmp_path / engine)
        one, other = (folders_but_for_the_engine(tmp_path / each) for each in ("backtrader", "compiled"))
        assert one == other
        ((_, files),) = one.items()
        assert len(files) == 5 + 6 * len(WORLD.symbols)
        said = json.loads(next(tmp_path.glob("compiled/*/provenance.json")).read_bytes())
        assert said["engine"] == "compiled"

    def test_many_bars_are_compiled_unless_an_engine_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bars = sum(len(WORLD.traded(each)) for each in WORLD.symbols)
        for many, engine in ((bars + 1, "backtrader"), (bars, "compiled")):
            monkeypatch.setattr("research.backtest.run.MANY_BARS", many)
            result = run_portfolio(self.CONFIG, members(), BOOK, engine=None)
            assert result.engine == engine
            told = [each for each in portfolio_lines(result, None) if "so the compiled engine ran" in each]
            assert [each.split(", ")[0] for each in told] == [f"drawn: {bars:,} bars"] * (
                engine == "compiled"
            )

    def test_an_account_that_its_lanes_do_not_confirm_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without Backtrader beside them: an entry nobody proposes, another price."""

        def planted(change: Any) -> Any:
            def traced(ground: PortfolioGround, asked: PortfolioConfig) -> PortfolioTrace:
                found = trace_portfolio(ground, asked)
                change(found)
                return found

            return traced

        def price(trace: PortfolioTrace) -> None:
            trace.fills[7, twin.F_PRICE] += 0.25

        def proposal(trace: PortfolioTrace) -> None:
            trace.proposals[7, twin.P_SET] += 1.0

        for change, told in (
            (price, r"portfolio drawn: the compiled engine contradicts itself at .*the price of a fill of"),
            (proposal, "the portfolio answers an entry that its lane does not propose, or none that it does"),
        ):
            monkeypatch.setattr(run, "trace_portfolio", planted(change))
            with pytest.raises(EngineMismatch, match=told):
                run_portfolio(self.CONFIG, members(), BOOK, engine="compiled")

    def test_the_records_of_lanes_are_compared_as_well(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lanes that take twice what was admitted leave the account's own numbers as they are."""
        admitted = run._admitted

        def twice(*given: Any) -> Any:
            found = admitted(*given)
            return replace(found, contracts=2.0 * found.contracts)

        monkeypatch.setattr(run, "_admitted", twice)
        with pytest.raises(EngineMismatch, match=r"engines part at .*the quantity of an order of [\w-]+ is"):
            run_portfolio(self.CONFIG, members(), BOOK, verify=True)
        with pytest.raises(EngineMismatch, match=r"contradicts itself at .*the size of a fill of [\w-]+ is"):
            run_portfolio(self.CONFIG, members(), BOOK, engine="compiled")


def test_a_capital_for_which_an_instrument_is_too_large_is_refused() -> None:
    sized = [symbol for symbol, each in WORLD.configs.items() if each.size.kind == "volatility"]
    assert "ES" in sized or "CL" in sized
    with pytest.raises(ConfigError, match=r"trades from [\d,]+ USD, the capital is 1,000: its median size"):
        ran(capital=1_000.0)


def test_a_strategy_for_each_lane() -> None:
    config, given = portfolios.portfolio_of(WORLD), members()
    del given["ES"]
    with pytest.raises(ConfigError, match="lanes are BTC-USD, CL, ES, SPY; give one for each"):
        run_portfolio(config, given, BOOK)
