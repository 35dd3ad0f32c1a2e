"""Tests of many trials at once: against arch, at their stated rate, and with a planted edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats
from research.statistics.bootstrap import block_length, resampled_means
from research.statistics.superior import (
    reality_check,
    step_down_p_values,
    superior_predictive_ability,
    superior_trials,
)
from support.sizes import bound, superior_rejections

RESAMPLES = 400


@pytest.fixture(scope="module")
def oracle() -> Any:
    return pytest.importorskip("arch.bootstrap")


def noise(seed: int, trials: int = 12, periods: int = 300) -> Floats:
    return np.random.default_rng(seed).normal(size=(periods, trials)) * 0.01


def with_edge(seed: int, *positions: int) -> Floats:
    returns = noise(seed)
    for position in positions:
        returns[:, position] += 0.0035
    return returns


def as_ours(share: float) -> float:
    """A p-value of arch, b / R, in the form (1 + b) / (1 + R)."""
    return (1 + share * RESAMPLES) / (1 + RESAMPLES)


@pytest.mark.parametrize("seed", range(4))
def test_the_reality_check_equals_arch(oracle: Any, seed: int) -> None:
    returns = noise(seed)
    theirs = oracle.RealityCheck(np.zeros(300), -returns, block_size=5, reps=RESAMPLES, seed=seed)
    theirs.compute()
    ours = reality_check(returns, block=5, resamples=RESAMPLES, seed=seed)
    assert ours == pytest.approx(as_ours(theirs.pvalues["upper"]))


@pytest.mark.parametrize("seed", range(4))
def test_the_studentised_test_equals_arch_on_studentised_returns(oracle: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    returns = noise(seed) * random.uniform(0.5, 2.0, 12) - np.where(np.arange(12) < 3, 0.02, 0.0)
    spread = returns.std(axis=0)
    theirs = oracle.SPA(np.zeros(300), -returns / spread, block_size=5, reps=RESAMPLES, seed=seed)
    theirs.compute()
    ours = superior_predictive_ability(returns, block=5, resamples=RESAMPLES, seed=seed)
    for name in ("lower", "consistent", "upper"):
        assert getattr(ours, name) == pytest.approx(as_ours(theirs.pvalues[name])), name
    assert ours.lower <= ours.consistent <= ours.upper
    assert ours.consistent < ours.upper


def test_means_are_those_of_the_rows_drawn(oracle: Any) -> None:
    returns = noise(0, trials=3)
    drawn = oracle.StationaryBootstrap(7, returns, seed=5).bootstrap(300)
    slow = np.array([sample[0][0].mean(axis=0) for sample in drawn])
    fast = resampled_means(returns, block=7, resamples=300, seed=5)
    np.testing.assert_allclose(fast, slow, atol=1e-15)


def test_a_planted_edge_is_found_and_named() -> None:
    returns = with_edge(1, 4, 7)
    found = superior_predictive_ability(returns, resamples=RESAMPLES)
    assert found.consistent < 0.02
    assert found.best in (4, 7)
    assert reality_check(returns, resamples=RESAMPLES) < 0.02
    p_values = step_down_p_values(returns, resamples=RESAMPLES)
    assert superior_trials(p_values) == (4, 7)


def test_step_down_agrees_with_arch_on_who_is_superior(oracle: Any) -> None:
    returns = with_edge(2, 0, 3, 9)
    theirs = oracle.StepM(np.zeros(300), -returns, block_size=3, reps=RESAMPLES, seed=0)
    theirs.compute()
    ours = superior_trials(step_down_p_values(returns, block=3, resamples=RESAMPLES))
    assert list(ours) == theirs.superior_models == [0, 3, 9]


def test_the_best_step_down_value_is_that_of_the_whole_family() -> None:
    returns = with_edge(3, 2)
    p_values = step_down_p_values(returns, block=4, resamples=RESAMPLES)
    whole = superior_predictive_ability(returns, block=4, resamples=RESAMPLES)
    assert p_values[whole.best] == p_values.min() == whole.upper
    assert (p_values <= 1).all()


@pytest.mark.parametrize("name", ["SPA", "step-down"])
def test_long_blocks_do_not_make_noise_significant(name: str) -> None:
    found = superior_rejections(name, 100, periods=500, trials=50, block=20, seed=11)
    assert found <= bound(100) == 13


def test_the_deviation_that_few_blocks_give_as_scale_rejects_too_often() -> None:
    """The negative control: it is that of one of fifty trials which the blocks underestimate most."""
    name = "bootstrap deviation as scale"
    assert superior_rejections(name, 100, periods=500, trials=50, block=20, seed=11) > bound(100)


def test_noise_is_rejected_at_the_stated_rate_and_no_more() -> None:
    runs = 200
    found = [noise(100 + seed, trials=8, periods=120) for seed in range(runs)]
    spa = [superior_predictive_ability(each, block=1, resamples=199).consistent for each in found]
    check = [reality_check(each, block=1, resamples=199) for each in found]
    any_step = [step_down_p_values(each, block=1, resamples=199).min() for each in found]
    # Three standard errors of a share of 10 % among 200 runs are 6.4 %.
    for p_values in (spa, check, any_step):
        assert 0.04 < np.mean(np.array(p_values) <= 0.10) < 0.165


def test_the_best_of_many_tested_alone_is_rejected_too_often() -> None:
    """The negative control: a shortlist of the winner knows nothing of the search."""
    shortlists = []
    for seed in range(60):
        returns = noise(500 + seed, trials=30, periods=120)
        best = int(returns.mean(axis=0).argmax())
        shortlists.append(superior_predictive_ability(returns[:, [best]], block=1, resamples=99).consistent)
    assert np.mean(np.array(shortlists) <= 0.10) > 0.5


def test_a_volatile_loser_costs_the_reality_check_its_power_but_not_hansens_test() -> None:
    returns = with_edge(4, 0)
    returns[:, 1:] = returns[:, 1:] * 20 - 0.15
    assert superior_predictive_ability(returns, resamples=RESAMPLES).consistent < 0.02
    assert reality_check(returns, resamples=RESAMPLES) > 0.3


def test_a_benchmark_is_subtracted() -> None:
    returns = with_edge(5, 6)
    benchmark = returns[:, 6]
    found = superior_predictive_ability(returns, benchmark, block=3, resamples=RESAMPLES)
    assert found.consistent > 0.3
    same = superior_predictive_ability(returns - benchmark[:, None], block=3, resamples=RESAMPLES)
    assert found == same


def test_trials_that_never_trade_are_never_superior() -> None:
    idle = np.zeros((50, 3))
    found = superior_predictive_ability(idle, resamples=99)
    assert (found.lower, found.consistent, found.upper, found.block) == (1.0, 1.0, 1.0, 1)
    assert step_down_p_values(idle, resamples=99).tolist() == [1.0, 1.0, 1.0]
    assert reality_check(idle, resamples=99) == 1.0


def test_the_block_length_grows_with_dependence() -> None:
    random = np.random.default_rng(0)
    shocks = random.normal(size=2000)
    persistent = np.empty(2000)
    persistent[0] = shocks[0]
    for period in range(1, 2000):
        persistent[period] = 0.8 * persistent[period - 1] + shocks[period]
    assert block_length(persistent) > 3 * block_length(shocks)
    assert block_length(np.ones(20)) == 1


def test_the_block_length_of_many_series_is_the_median_of_theirs() -> None:
    columns = np.random.default_rng(8).normal(size=(400, 31))
    own = [block_length(column) for column in columns.T]
    assert block_length(columns) == pytest.approx(np.median(own), abs=1)
    assert block_length(columns) < max(own)
    idle = np.column_stack((columns, np.ones((400, 5))))
    assert block_length(idle) == block_length(columns)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(DataError, match="benchmark: 3 returns, trials 300"):
        reality_check(noise(0), np.zeros(3))
    with pytest.raises(DataError, match="7 rows: need at least 8"):
        superior_predictive_ability(np.zeros((7, 2)))
    with pytest.raises(ConfigError, match="resamples 0"):
        step_down_p_values(noise(0), resamples=0)
    with pytest.raises(ConfigError, match="block length 0"):
        step_down_p_values(noise(0), block=0)
    with pytest.raises(ConfigError, match="size 1"):
        superior_trials(np.array([0.5]), size=1)
