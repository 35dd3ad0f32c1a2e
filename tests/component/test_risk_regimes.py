"""Regimes on the risk page: lanes of a run, instruments of a desk, and what is left out."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import numpy as np
import pytest

from lockstep.portfolio.session_changes import SessionCloses
from research.backtest.portfolio import PortfolioMember, run_portfolio
from research.report import page
from research.report.sections_regimes import mean_trades, regime_table
from research.risk import parts as parts
from research.risk.regimes import Regimes
from research.risk.section import RISK_PARTS, RiskPart
from research.risk.subject import RiskSubject
from research.statistics.regimes import FAILS, HOLDS, judged_together, results_by_regime
from support.portfolios import BOOK, drawn_portfolio, mixed_world

WORLD = mixed_world(1, {"ES": ("1d", 60), "CL": ("1d", 60), "GC": ("1d", 60)})
BY_REGIME = [symbol for symbol, each in WORLD.configs.items() if each.size.by_regime is not None]


def subject(**more: Any) -> RiskSubject:
    dates = np.datetime64("2024-01-01") + np.arange(2)
    values: dict[str, Any] = {
        "kind": "portfolio", "name": "three", "as_of": date(2024, 1, 2), "stamp": 0, "capital": 1e6,
        "positions": {"ES": 1.0}, "reserved": {}, "dates": dates, "changes": np.zeros((2, 1)), "closes": {},
    }  # fmt: skip
    return RiskSubject(**(values | more))


def closes(count: int, *, wild: bool) -> SessionCloses:
    """Return closes whose last 50 changes are large or as small as most before."""
    random = np.random.default_rng(2)
    size = np.where(np.arange(count) // 60 % 4 == 3, 30.0, 3.0)
    size[-50:] = 30.0 if wild else 3.0
    values = 4000.0 + np.cumsum(random.normal(0, 1, count) * size)
    return SessionCloses(dates=np.datetime64("2015-01-01") + np.arange(count), closes=values, multiplier=50.0)


def measured(given: RiskSubject) -> RiskPart:
    part = Regimes().measure(given)
    assert part is not None
    return part


@pytest.fixture(scope="module")
def of_run() -> RiskPart:
    members = {
        each: PortfolioMember(
            strategy=WORLD.configs[each], history=WORLD.history, veto=WORLD.vetoes.get(each),
            model={"version": "v1", "sha256": "0" * 64, "threshold": 0.8, "fitted_on": None, "hold_out": None}
            if each in WORLD.vetoes else None,
        )
        for each in WORLD.symbols
    }  # fmt: skip
    config = drawn_portfolio(WORLD, 1)
    run = run_portfolio(config, members, BOOK, engine="compiled")
    return measured(subject(run=run))


def test_it_is_plugged() -> None:
    assert isinstance(RISK_PARTS["regimes"], Regimes)


def test_each_lane_whose_regime_is_known_has_its_results(of_run: RiskPart) -> None:
    assert BY_REGIME
    assert list(of_run.content["by_lane"]) == BY_REGIME
    json.dumps(of_run.content, allow_nan=False)
    assert len(of_run.cards) == len(BY_REGIME)
    assert not of_run.failed


def test_a_desk_shows_how_calm_its_instruments_are() -> None:
    part = measured(
        subject(
            closes={
                "ES": closes(1300, wild=False),
                "NQ": closes(1300, wild=True),
                "ZC": closes(100, wild=True),
            }
        )
    )
    now = part.content["turbulence_now"]
    assert now["ES"] < 0.1 < 0.9 < now["NQ"]
    assert now["ZC"] is None
    assert "fewer than 1,250 sessions" in page.joined(*part.cards)
    assert part.content["by_lane"] == {}


def test_nothing_to_say_is_no_part() -> None:
    assert Regimes().measure(subject(closes={"ES": closes(100, wild=False)})) is None


def test_several_lanes_are_judged_together() -> None:
    """A failure that is clear by itself needs more once nine other lanes are looked at."""
    path = np.repeat(np.tile([1.0, -1.0], 20), 3)
    noise = np.random.default_rng(0).normal(0, 1, path.size)
    pnl = noise + np.where(path == 1.0, 0.2, -0.1)
    found = results_by_regime(pnl, np.arange(path.size), path)
    flagged = {each.name for each in found if each.verdict == FAILS}
    assert flagged == {"bear"}
    fair = results_by_regime(noise, np.arange(path.size), path)
    together = judged_together({"A": found, **{f"B{number}": fair for number in range(9)}})
    assert {each.name: each.verdict for each in together["A"]} == {"bull": HOLDS, "bear": HOLDS}


def test_a_failure_is_seen_in_table_and_figure() -> None:
    path = np.repeat(np.tile([1.0, -1.0], 20), 3)
    pnl = np.random.default_rng(0).normal(0, 1, path.size) + np.where(path == 1.0, 1.0, -1.0)
    found = results_by_regime(pnl, np.arange(path.size), path)
    assert "fails" in regime_table(found)
    drawn = mean_trades(found)
    assert drawn is not None
    assert list(drawn.data[0].y) == ["Bull", "Bear"]
    assert mean_trades(results_by_regime([1.0], [0], [1.0])) is None
