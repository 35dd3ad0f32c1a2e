"""A plan that asks for neutral weights is obeyed or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from lockstep.market.dates import DateRange
from lockstep.settings import validated
from research.factors.series import FactorSeries, moves_on
from research.optimise.command import neutral_moves
from research.optimise.methods import METHODS, LaneRisk, weights_of
from research.optimise.optimise import optimise
from research.optimise.plan import PortfolioPlan
from research.optimise.streams import PortfolioStreams
from support.plans import DESIGN, lanes_of, optimised, plan_of, plan_world, streams
from support.portfolios import BOOK


def plan(*names: str) -> PortfolioPlan:
    return plan_of(plan_world()).model_copy(update={"neutral": names})


def spread() -> Any:
    """Return moves, (T, 1), that one lane gains from and another one loses by."""
    pnl = streams().pnl / streams().pnl.std(axis=0)
    return (pnl[:, :1] - pnl[:, 1:2]) * 0.01


def leaning(units: Any, moves: Any) -> float:
    """Return the exposure of units to moves, as part of what the lanes' exposures are without their signs."""
    slopes = np.polyfit(moves[:, 0], streams().pnl, 1)[0]
    return float(abs(units @ slopes) / (np.abs(units) @ np.abs(slopes)))


def test_what_is_wanted_is_neutral() -> None:
    found = optimise(plan("spread"), streams(), DESIGN, factors=spread())
    assert leaning(found.sizes.wanted, spread()) < 1e-9
    assert leaning(optimised().sizes.wanted, spread()) > 1e-3
    assert found.leaning.shape == (1,)
    assert found.plan.plan_hash != optimised().plan.plan_hash
    assert found.result.walk_forward["equal"].tolist() != optimised().result.walk_forward["equal"].tolist()


@pytest.mark.parametrize("name", METHODS)
def test_each_method_is_made_neutral_by_what_training_shows(name: str) -> None:
    pnl, moves = streams().pnl / streams().notional, spread()
    risk = LaneRisk.of(pnl[:300], streams().symbols, None, moves[:300], ["spread"])
    weights = weights_of(METHODS[name], risk)
    assert abs(weights @ risk.exposures[:, 0]) <= 1e-9 * np.abs(risk.exposures).max()
    assert weights.sum() == pytest.approx(1.0)
    assert weights.min() >= 0.0
    plain = LaneRisk.of(pnl[:300], streams().symbols)
    assert weights_of(METHODS[name], plain).tolist() == METHODS[name](plain).tolist()


def test_what_cannot_be_obeyed_is_refused() -> None:
    with pytest.raises(ConfigError, match="neutral to spread: give the moves of these factors"):
        optimise(plan("spread"), streams(), DESIGN)
    same = (streams().pnl / streams().pnl.std(axis=0)).sum(axis=1)[:, None]
    with pytest.raises(ConfigError, match="neutral to all: no weights >= 0 are: the lanes lean to one side"):
        optimise(plan("all"), streams(), DESIGN, factors=same)


def test_factors_of_a_lane_and_of_the_file() -> None:
    lanes = lanes_of(plan_world(), DateRange.of("2019-02-01", "2021-06-18"))
    shorter = PortfolioStreams.of(plan("gold"), lanes, BOOK)
    found = neutral_moves(plan("gold"), shorter, None, BOOK)
    closes = plan_world().traded("GC").close
    assert found.shape == (shorter.days.size, 1)
    assert np.isin(found[1:, 0].round(12), (closes[1:] / closes[:-1] - 1).round(12)).mean() > 0.9


@pytest.mark.parametrize(
    ("name", "error", "rule"),
    [
        ("golf", ConfigError, "neutral: no factor 'golf'; did you mean 'gold'"),
        ("crypto_size", DataError, "neutral to crypto_size: needs 6 coins"),
        ("crypto_market", DataError, "neutral to crypto_market: BTC-USD"),
        ("market", DataError, "factor market: known from .* give bars of these dates"),
    ],
)
def test_a_factor_that_is_not_there_is_refused(name: str, error: type[Exception], rule: str) -> None:
    with pytest.raises(error, match=rule):
        neutral_moves(plan(name), streams(), None, BOOK)


def test_the_same_factor_twice_is_refused_and_none_is_not_written() -> None:
    content = plan_of(plan_world()).model_dump(mode="json")
    assert "neutral" not in content
    with pytest.raises(ConfigError, match="a factor is named twice"):
        validated(PortfolioPlan, {**content, "neutral": ["gold", "gold"]}, where="plan")


def test_a_day_without_the_factor_moves_by_both_on_the_next() -> None:
    days = np.datetime64("2020-01-01") + np.arange(6)
    series = FactorSeries(name="x", dates=days[[0, 1, 2, 4, 5]], level=np.array([0.0, 1.0, 3.0, 6.0, 10.0]))
    assert moves_on(series, days[1:]).tolist() == [1.0, 2.0, 0.0, 3.0, 4.0]
    with pytest.raises(DataError, match="known from 2020-01-01 to 2020-01-06, asked for 2020-01-01"):
        moves_on(series, days)
