"""The page of a portfolio: every card for every portfolio, and figures that add up to the account."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lockstep.errors import DataError
from research.backtest.portfolio import PortfolioMember, PortfolioResult, run_portfolio
from research.report import figures_portfolio as figures
from research.report.data import floats
from research.report.portfolio_data import PortfolioSheet
from research.report.portfolio_page import SECTIONS, portfolio_html
from research.report.section import Section
from support import portfolios
from support.portfolios import BOOK, VOLATILITY
from support.reports import Page
from support.sections import require_escaped, require_readable, require_same_again

WORLD = portfolios.with_margins(
    portfolios.world(2, {"BTC-USD": ("1d", 160), "CL": ("1d", 120), "ES": ("1d", 120), "SPY": ("1h", 500)})
)
TIERS = {"window": 60, "tiers": [{"at": 0.002, "scale": 0.5}], "halt": 0.03}
SETTINGS: dict[str, dict[str, Any]] = {
    "free": {},
    "limited": {
        "limits": {
            "max_positions": 2, "max_gross": 0.6, "daily_loss": {"fraction": 0.004, "flatten": True},
            "drawdown": {**TIERS, "halt": None},
        },
        "rank": {"by": "score", "id": VOLATILITY, "top": 1},
    },
    "halted": {"limits": {"drawdown": {**TIERS, "halt": 0.006}}},
    "nothing": {"limits": {"max_gross": 1e-9}},
}  # fmt: skip

every_portfolio = pytest.mark.parametrize("which", SETTINGS)
every_section = pytest.mark.parametrize("section", SECTIONS.values(), ids=lambda section: section.name)


@functools.cache
def result(which: str) -> PortfolioResult:
    members = {
        symbol: PortfolioMember(strategy=config, history=WORLD.history)
        for symbol, config in WORLD.configs.items()
    }
    config = portfolios.portfolio_of(WORLD, **SETTINGS[which])
    return run_portfolio(config, members, BOOK, engine="compiled")


@functools.cache
def report(which: str) -> PortfolioSheet:
    return result(which).sheet()


@functools.cache
def page(which: str) -> Page:
    return Page(portfolio_html(report(which)))


@every_portfolio
@every_section
def test_a_card_renders_whatever_happened(section: Section[PortfolioSheet], which: str) -> None:
    require_readable(section, report(which))


@every_section
def test_a_text_is_a_text(section: Section[PortfolioSheet]) -> None:
    require_escaped(section, report("limited"), "drawn", "ES", "SPY", "lane", "positions", "signal")


@every_section
def test_it_is_the_same_again(section: Section[PortfolioSheet]) -> None:
    require_same_again(section, report("limited"))


@every_portfolio
def test_lanes_add_up_to_the_account(which: str) -> None:
    found = report(which)
    equity = floats(found.account.equity, "equity")
    np.testing.assert_allclose(found.earned.sum(axis=1) + found.account.capital, equity, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.session_pnl.sum(axis=0), found.earned[-1], rtol=0, atol=1e-6)
    if found.earned.any():
        assert found.risk_shares.sum() == pytest.approx(1.0, abs=1e-9)
        pnl = found.session_pnl
        own = [np.cov(pnl[:, i], pnl.sum(axis=1))[0, 1] for i in range(len(found.lanes))]
        np.testing.assert_allclose(found.risk_shares, own / pnl.sum(axis=1).var(ddof=1), atol=1e-9)
    drawn = figures.by_lane(found)
    ends = sum(trace.y[-1] for trace in drawn.data)
    assert ends == pytest.approx(result(which).net_profit, abs=0.05)


def test_correlations_are_those_of_results_by_session() -> None:
    found = report("free")
    frame = pd.DataFrame(found.session_pnl, columns=found.symbols)
    expected = frame.corr().to_numpy()
    np.testing.assert_allclose(found.correlation.to_numpy(), expected, rtol=0, atol=1e-12)
    # A lane that never trades has no correlation, and no cell.
    quiet = report("limited")
    idle = ~quiet.session_pnl.any(axis=0)
    assert quiet.correlation.isna().to_numpy()[idle].all() or not idle.any()


def test_every_refusal_is_counted_once_over_time_and_by_lane() -> None:
    found, proposals = report("limited"), result("limited").proposals
    refused = proposals[proposals["rule"] != ""]
    assert {"positions", "gross", "rank", "daily_loss"} <= set(refused["rule"])
    assert int(found.refused.to_numpy().sum()) == len(refused)
    periods, counts = found.over_time()
    assert len(periods) == counts.shape[1] > 3
    assert counts.to_numpy().sum(axis=1).tolist() == found.refused.to_numpy().sum(axis=1).tolist()
    month = pd.DatetimeIndex(refused["stamp"].astype("datetime64[ns]")).strftime("%Y-%m")
    assert dict(zip(periods, counts.to_numpy().sum(axis=0).tolist(), strict=True))["2019-03"] == (
        (month == "2019-03").sum()
    )
    drawn = figures.refusals(found)
    assert drawn is not None
    assert sum(sum(trace.y) for trace in drawn.data) == len(refused)
    assert figures.refusals(report("free")) is None


def test_exposure_is_that_of_the_positions() -> None:
    found, lanes = report("free"), result("free").lanes
    at = found.stamps[len(found.stamps) // 2]
    gross = 0.0
    for lane in lanes.values():
        row = lane.equity.loc[: pd.Timestamp(at, tz="UTC")].iloc[-1]
        gross += abs(row["position"] * row["close"]) * lane.market.instrument.multiplier
    assert np.abs(found.notional[len(found.stamps) // 2]).sum() == pytest.approx(gross, rel=1e-12)
    drawn = figures.exposure(found)
    assert drawn is not None
    most = np.abs(found.notional).sum(axis=1).max() / found.account.capital
    assert max(drawn.data[0].y) == pytest.approx(most, abs=1e-3)
    assert figures.exposure(report("nothing")) is None


def test_stops_tiers_and_halt_are_shown() -> None:
    limited, halted = report("limited"), report("halted")
    days = result("limited").equity.groupby("session_date")["stopped"].any()
    assert limited.stops.size == days.sum() > 2
    assert f"{limited.stops.size} days stopped by their loss" in page("limited").text
    assert "New sizes times 0.5" in page("limited").text
    on = result("halted").halted_on
    assert on is not None
    assert f"Halted on {on}: nothing was entered after it." in page("halted").text
    assert halted.halt is not None
    sizes = next(trace for trace in figures.account(halted).data if trace.name == "Size of new entries")
    assert sizes.y[-1] == 0.0
    assert [each.text.strip() for each in figures.account(halted).layout.annotations][-1] == "halted"
    assert report("free").halt is None
    assert not report("free").stops.size


def test_key_figures_are_those_of_the_account(tmp_path: Path) -> None:
    found, text = result("limited"), page("limited").text
    assert found.metrics["net_profit"] == pytest.approx(found.net_profit, abs=1e-6)
    assert found.metrics["trades"] == sum(
        (each.trades["status"] == "closed").sum() for each in found.lanes.values()
    )
    assert "95%: " in text
    assert "How far the Sharpe ratio can be trusted" in text
    folder = found.save(tmp_path, shared_js=tmp_path)
    assert (folder / "tearsheet.html").stat().st_size < 1_000_000
    assert (folder / "metrics.json").is_file()


def test_a_report_without_its_columns_is_refused() -> None:
    found = report("free")
    bare = replace(found.account, equity=found.account.equity.drop(columns="scale"))
    with pytest.raises(DataError, match="equity: no column scale"):
        replace(found, account=bare)
    with pytest.raises(DataError, match="a portfolio has at least one"):
        replace(found, lanes=[])
