"""From streams to a portfolio's file: sizes, limits, order of the lanes, what is kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.portfolio.config import PortfolioLimits, load_portfolio_config
from research.backtest.account import Account
from research.backtest.portfolio import PortfolioMember, run_portfolio
from research.backtest.run import run_backtest
from research.optimise.feasible import limit_sets, smallest_feasible
from research.optimise.methods import METHODS
from research.optimise.nested import RULE
from research.optimise.optimise import WRITTEN, optimise, require_grouped
from research.optimise.report import SECTIONS, PortfolioReport, keep, portfolio_page
from research.optimise.sizes import PortfolioSizes
from research.optimise.streams import PortfolioStreams
from research.optimise.written import figures
from support import plans
from support.plans import DESIGN, lanes_of, optimised, plan_of, plan_world, streams
from support.portfolios import BOOK
from support.reports import Page
from support.sections import require_readable, require_same_again

ALONE = {"kind": "fixed", "contracts": 1}


def test_a_lanes_stream_is_what_one_unit_does_in_backtrader() -> None:
    found = streams()
    assert found.pnl.shape == (found.days.size, 4)
    symbol, place = "GC", found.symbols.index("GC")
    config = plan_world().configs[symbol].replaced(size=ALONE)
    account = Account.of_backtest(run_backtest(config, plan_world().history, symbol, span=found.dates))
    rows = np.searchsorted(found.days, account.sessions.astype(np.int64))
    curve = np.concatenate(([account.capital], account.session_equity))
    np.testing.assert_allclose(found.pnl[rows, place], np.diff(curve), atol=1e-6)
    assert np.count_nonzero(found.pnl[:, place]) > 100
    assert found.contracts[place] == 1.0


def test_a_weight_of_one_is_a_strategy_on_all_of_the_capital() -> None:
    """One that sizes itself, in the large: whole contracts then round little away."""
    found = streams()
    place = found.symbols.index("ES")
    own = plan_world().configs["ES"]
    assert own.size.kind == "volatility"
    config = own.replaced(capital=found.plan.capital)
    account = Account.of_backtest(run_backtest(config, plan_world().history, "ES", span=found.dates))
    mine, theirs = found.pnl[:, place], np.diff(np.concatenate(([account.capital], account.session_equity)))
    assert np.corrcoef(mine[np.isin(found.days, account.sessions.astype(np.int64))], theirs)[0, 1] > 0.9999
    assert mine.sum() == pytest.approx(theirs.sum(), rel=0.02)


def test_contributions_add_up_and_the_table_says_so() -> None:
    found = optimised()
    assert abs(found.contributions.sum() - found.volatility) < 1e-9 * found.volatility
    assert abs(found.contributions[1:].sum() - found.volatility) > 1.0
    shares = [each["risk"] for each in figures(found)["lanes"].values()]
    assert sum(shares) == pytest.approx(found.volatility, rel=1e-12)


def test_what_is_written_is_what_cerebro_trades(tmp_path: Path) -> None:
    found = optimised()
    left = keep(found, tmp_path / "configs" / "portfolio_config.yml", tmp_path / "kept")
    config = load_portfolio_config(left.config, BOOK)
    assert config == found.config
    members = {
        symbol: PortfolioMember(strategy=plan_world().configs[symbol], history=plan_world().history)
        for symbol in config.symbols
    }
    result = run_portfolio(config, members, BOOK, span=found.streams.dates, verify=True)
    assert result.net_profit == found.profits.sum() or abs(result.net_profit - found.profits.sum()) < 1e-6
    assert result.refusals["positions"] > 5


def test_a_rerun_writes_the_same_bytes_and_another_run_is_compared(tmp_path: Path) -> None:
    current, kept = tmp_path / "portfolio_config.yml", tmp_path / "kept"

    def everything() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(tmp_path.rglob("*.*")) if path.is_file()}

    keep(optimised(), current, kept)
    first = everything()
    plan = optimised().plan
    keep(optimise(plan, PortfolioStreams.of(plan, lanes_of(plan_world()), BOOK), DESIGN), current, kept)
    assert everything() == first
    assert b"run before" not in first[f"portfolio-{optimised().content_hash[:10]}.html"]
    other = optimise(plan, optimised().streams, dataclasses.replace(DESIGN, seed=1))
    left = keep(other, current, kept)
    page = left.page.read_text(encoding="utf-8")
    assert "run before" in page
    assert optimised().config.name in page
    again = everything()
    keep(optimised(), current, kept)
    keep(other, current, kept)
    assert everything() == again
    assert json.loads((kept / "runs.json").read_text()) == [
        optimised().content_hash[:10], other.content_hash[:10],
    ]  # fmt: skip


@pytest.mark.parametrize("section", SECTIONS.values(), ids=lambda section: section.name)
def test_sections_are_readable_and_the_same_again(section: Any) -> None:
    for before in (None, figures(optimised())):
        report = PortfolioReport(found=optimised(), before=before)
        require_readable(section, report)
        require_same_again(section, report)


def test_methods_are_judged_and_the_written_row_is_told_apart() -> None:
    names = [each.name for each in optimised().judged]
    assert names[:3] == [RULE, "equal", "equal_risk"]
    assert set(names) == {RULE, *METHODS, "max_sharpe", WRITTEN}
    for each in optimised().judged:
        assert each.sharpe.low < each.sharpe.estimate < each.sharpe.high
        assert 0 < each.drawdown.low < each.drawdown.high
        assert each.paths.size == (0 if each.name == WRITTEN else 9)


def test_orders_are_drawn_without_repeating_and_matter_where_a_limit_binds() -> None:
    luck = optimised().luck
    assert luck.profit.size == 6
    assert np.ptp(luck.profit) > 1_000.0
    assert luck.written[0] == pytest.approx(luck.profit[0])
    plan = plan_of(plan_world(), drawdown={"at": 1.0})
    free = optimise(plan, streams(), DESIGN)
    assert np.ptp(free.luck.profit) == 0.0
    assert free.luck.written[0] == pytest.approx(free.luck.profit[0])
    page, other = (portfolio_page(PortfolioReport(found=each, before=None)) for each in (free, optimised()))
    assert "no limit makes one lane" in Page(page).text
    assert "proposals admitted in 6 orders" in Page(other).text


BASE = PortfolioLimits.model_validate({"max_gross": 2.0, "daily_loss": {"fraction": 0.05, "flatten": True}})


def test_sets_of_limits_come_in_the_order_of_how_much_they_limit() -> None:
    sets = limit_sets(BASE, lanes=4, gross=3.0, drawdown=0.2, volatility=0.1, most=2_000)
    assert len(sets) == 2_000
    assert len({each.model_dump_json() for each in sets}) == 2_000
    assert sets[0] == BASE
    added = [
        sum(getattr(each, name) != getattr(BASE, name) for name in PortfolioLimits.model_fields)
        for each in sets
    ]
    assert added == sorted(added)
    assert set(added) == {0, 1, 2, 3, 4}
    for each in sets:
        assert each.max_gross is not None
        assert each.max_gross <= 2.0
        assert each.daily_loss is not None
        assert each.daily_loss.fraction <= 0.05
        assert each.daily_loss.flatten
    without = limit_sets(BASE, lanes=1, gross=1.0, drawdown=0.2, volatility=None, most=2_000)
    assert all(each.volatility is None and each.max_positions is None for each in without)


def test_the_first_set_that_holds_is_taken_whatever_it_earns() -> None:
    sets = limit_sets(BASE, lanes=4, gross=3.0, drawdown=0.2, volatility=None, most=60)
    random = np.random.default_rng(0)
    wild, calm = random.normal(50, 1_000, 600), random.normal(-5, 10, 600)
    asked: list[int] = []

    def profits(some: Any) -> Any:
        asked.append(len(some))
        # Only the 20th and later are calm, and they lose.
        places = [sets.index(each) for each in some]
        return np.array([calm if place >= 20 else wild for place in places])

    found = smallest_feasible(sets, profits, bound=8_000.0, probability=0.1, resamples=50, seed=0)
    assert found.found is not None
    assert found.found[0] == sets[20]
    assert sum(asked) == len(found.tried) < len(sets)
    nothing = smallest_feasible(sets, profits, bound=1.0, probability=0.1, resamples=50, seed=0)
    assert nothing.found is None
    assert len(nothing.tried) == len(sets)


def test_a_small_account_leaves_lanes_out_and_says_from_when_they_trade() -> None:
    whole = PortfolioSizes.of(streams(), np.array([1.3, 0.2, 0.2, 0.3]), np.diag(streams().pnl.var(axis=0)))
    assert whole.kept == ("CL", "ES", "SPY")
    np.testing.assert_allclose(whole.units, [1.0, 0.2, 0.0, 0.3])
    place = whole.symbols.index("GC")
    assert whole.needed[place] == pytest.approx(streams().plan.capital / 0.2)
    assert whole.smaller["GC"] == {"MGC": pytest.approx(whole.needed[place] / 10)}
    assert whole.smaller["CL"] == {
        "MCL": pytest.approx(whole.needed[0] / 10), "QM": pytest.approx(whole.needed[0] / 2),
    }  # fmt: skip
    assert whole.needed[1] == pytest.approx(streams().plan.capital / (0.2 * streams().contracts[1]))


def test_a_small_account_is_written_without_the_lanes_that_it_cannot_trade(tmp_path: Path) -> None:
    """With a limit of volatility, whose correlations are then those of the lanes that are left."""
    world = plan_world(size=ALONE)
    limits = {"volatility": {"target": 0.5}, "max_positions": 3}
    rank = {"by": "listed", "order": ["SPY", "GC", "ES", "CL"]}
    plan = plan_of(
        world, capital=100_000.0, target_volatility=0.15, drawdown={"at": 1.0}, limits=limits, rank=rank
    )
    found = optimise(plan, PortfolioStreams.of(plan, lanes_of(world), BOOK), DESIGN)
    assert found.kept.symbols == found.sizes.kept
    assert set(found.kept.symbols) == {"CL", "SPY"}
    left = keep(found, tmp_path / "portfolio_config.yml", tmp_path / "kept")
    config = load_portfolio_config(left.config, BOOK)
    assert config == found.config
    assert config.rank.order == ("SPY", "CL")
    assert config.correlation is not None
    assert config.correlation.symbols == ("CL", "SPY")
    members = {
        symbol: PortfolioMember(strategy=world.configs[symbol], history=world.history)
        for symbol in config.symbols
    }
    result = run_portfolio(config, members, BOOK, span=found.streams.dates)
    assert result.net_profit == pytest.approx(found.profits.sum(), abs=1e-6)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "capital too small": (
        {"capital": 200.0, "target_volatility": 0.02},
        r"capital 200 USD: too small.* ES trades from [\d,]+ USD, MES from [\d,]+",
    ),
    "drawdown that no limit keeps": (
        {"drawdown": {"at": 0.01}, "target_volatility": 0.6},
        "drawdown.at 0.01: no set of limits out of 40.*lower target_volatility 0.6",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_made_is_refused_in_one_line(case: str) -> None:
    changes, message = REFUSED[case]
    world = plan_world(size=ALONE)
    plan = plan_of(world, **changes)
    told: list[Any] = []
    with pytest.raises(ConfigError, match=message) as refused:
        optimise(plan, PortfolioStreams.of(plan, lanes_of(world), BOOK), DESIGN, count=told.extend)
    assert "\n" not in str(refused.value)
    # What was evaluated is a trial, whatever came of it.
    sets = DESIGN.limit_sets if "drawdown" in changes else 0
    assert len(told) == len(METHODS) + 1 + sets


def test_lanes_that_correlate_must_share_a_group() -> None:
    found, bars = streams(), plan_world().traded("CL")
    twin = History(
        bars={SeriesKey("GC", bars.timeframe): dataclasses.replace(bars, symbol="GC")},
        markets=plan_world().history.markets,
    )
    lanes = {**found.lanes, "GC": dataclasses.replace(found.lanes["GC"], history=twin)}
    alike = dataclasses.replace(found, lanes=lanes)
    require_grouped(found.plan, found)
    with pytest.raises(ConfigError, match=r"CL and GC: .* correlate by 1.00 .*more than .*max_pairwise 0.9"):
        require_grouped(found.plan, alike)
    together = {"groups": {"us_equity": {"symbols": ["ES", "SPY"]}, "twins": {"symbols": ["CL", "GC"]}}}
    require_grouped(plan_of(plan_world(), **together), alike)
    require_grouped(plan_of(plan_world(), correlation={"max_pairwise": 1.0}), alike)


def test_streams_that_are_short_are_refused_with_their_dates() -> None:
    lanes = lanes_of(plan_world()) | {
        "GC": lanes_of(plan_world(), DateRange.of("2020-10-01", "2021-06-30"))["GC"]
    }
    with pytest.raises(DataError, match=r"have \d+ sessions .* at least 504 .*GC 2020-10-01 to 2021-06-30"):
        PortfolioStreams.of(plan_of(plan_world()), lanes, BOOK)
    assert plans.streams().days.size > 504
    key = SeriesKey("GC", plan_world().configs["GC"].bars)
    assert len(plan_world().history.series(key)) == 640
