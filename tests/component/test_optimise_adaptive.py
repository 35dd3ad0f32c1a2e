"""A search by results: every trial counted, the front told, nothing written, no library needed otherwise."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError
from lockstep.metrics import sharpe
from lockstep.strategy.families.rules import RulesConfig
from research.optimise.adaptive import (
    AdaptiveTrial,
    adaptive_search,
    factor_weights,
    keep_search,
    library_for,
)
from research.optimise.optimise import OptimisedPortfolio, optimise
from research.optimise.streams import PortfolioStreams
from support.plans import DESIGN, STUDIES, lanes_of, optuna_stand_in, plan_of, plan_world
from support.portfolios import BOOK, VOLATILITY


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", optuna_stand_in())


@pytest.fixture(scope="module")
def scored() -> OptimisedPortfolio:
    """CL trades by a spec with a factor score."""
    own = RulesConfig(
        name="scored",
        long_entry={"id": "score", "above": 0.0},
        max_bars=3,
        score=[{"id": "ret_5", "weight": 1.0}, {"id": "ret_20", "weight": -0.5}],
        features=[VOLATILITY],
    )
    lanes = lanes_of(plan_world())
    lanes["CL"] = dataclasses.replace(lanes["CL"], strategy=own)
    return optimise(plan_of(plan_world()), PortfolioStreams.of(plan_of(plan_world()), lanes, BOOK), DESIGN)


def test_without_the_library_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match="optuna is not installed; install the extra `optuna`, or leave"):
        library_for(3)
    with pytest.raises(ConfigError, match="--optuna 0: must be a positive number of trials"):
        library_for(0)


def test_every_trial_is_counted_before_it_is_told_and_kept(
    scored: OptimisedPortfolio, tmp_path: Path
) -> None:
    counted: list[Any] = []

    def count(some: Any) -> None:
        assert len(STUDIES[-1].told) == len(counted)
        counted.extend(some)

    found = adaptive_search(scored, trials=8, seed=3, count=count)
    assert [each.parameters for each in found] == [each[1] for each in counted]
    assert STUDIES[-1].told == [[each.sharpe, each.drawdown, each.calmar] for each in found]
    assert set(found[0].parameters) == {"CL.score.ret_5", "CL.score.ret_20", "size", "limits"}
    assert adaptive_search(scored, trials=8, seed=3, count=lambda told: None) == found
    assert len({each.sharpe for each in found}) > 3
    path = keep_search(scored, found, tmp_path)
    before = path.read_bytes()
    assert keep_search(scored, found, tmp_path) == path
    assert path.read_bytes() == before
    assert [each["front"] for each in json.loads(before)["trials"]] == [each.front for each in found]


def test_the_front_is_what_nothing_dominates(scored: OptimisedPortfolio) -> None:
    found = adaptive_search(scored, trials=8, seed=3, count=lambda told: None)

    def values(each: AdaptiveTrial) -> tuple[float, float, float]:
        return each.sharpe, -each.drawdown, each.calmar

    assert {each.front for each in found} == {True, False}
    for each in found:
        better = [
            other
            for other in found
            if values(other) != values(each) and (np.array(values(other)) >= values(each)).all()
        ]
        assert each.front == (not better)


def test_weights_as_they_are_give_the_portfolio_as_it_is(scored: OptimisedPortfolio) -> None:
    weights = list(factor_weights(scored.kept))
    assert weights == [("CL", "ret_5", 1.0), ("CL", "ret_20", -0.5)]
    own = scored.kept.lanes["CL"].strategy
    same = scored.kept.sweep_with({"CL": own.replaced(name="other")}, [scored.config]).profits[0]
    np.testing.assert_array_equal(same, scored.profits)
    turned = own.replaced(score=[{"id": name, "weight": -weight} for _, name, weight in weights])
    other = scored.kept.sweep_with({"CL": turned}, [scored.config]).profits[0]
    assert abs(sharpe(other) - sharpe(same)) > 1e-3
