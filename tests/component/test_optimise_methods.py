"""Covariance, methods, contributions and drawdown probabilities against second ways of computing them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import kstest

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats, curve_from, drawdowns, expected_shortfall, sharpe
from lockstep.portfolio.config import CorrelationMatrix
from lockstep.portfolio.var_decomposition import shortfall_contributions, volatility_contributions
from research.optimise.covariance import (
    correlation_of,
    ledoit_wolf,
    shrunk_covariance,
)
from research.optimise.feasible import drawdown_probabilities
from research.optimise.methods import (
    CONTROLS,
    METHODS,
    LaneRisk,
    equal_contributions,
    equal_risk,
    erc,
    hrp,
    inverse_vol,
    max_sharpe,
    min_variance,
    partition,
    scaled,
)
from research.statistics.bootstrap import resampled_rows, sharpe_error

NAMES = ("CL", "ES", "GC", "NQ", "ZC")
SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, lanes: int = 5, sessions: int = 400, drift: float = 0.05) -> Floats:
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(sessions, lanes)) @ (np.eye(lanes) + random.normal(0, 0.4, (lanes, lanes)))
    return (mixed + random.normal(0, drift, lanes)) * np.exp(random.normal(5, 1.5, lanes))


def risk_of(seed: int, lanes: int = 5) -> LaneRisk:
    return LaneRisk.of(drawn(seed, lanes), NAMES[:lanes])


def by_slsqp(objective: Callable[[Floats], float], lanes: int) -> Floats:
    """The slow oracle of a programme with weights >= 0 that sum to 1."""
    found = minimize(
        objective,
        np.full(lanes, 1 / lanes),
        method="SLSQP",
        bounds=[(0, 1)] * lanes,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-15, "maxiter": 2000},
    )
    return np.asarray(found.x)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sessions", [10, 60, 1000])
def test_the_shrinkage_is_that_of_scikit_learn(seed: int, sessions: int) -> None:
    oracle = pytest.importorskip("sklearn.covariance").LedoitWolf().fit(drawn(seed, sessions=sessions))
    covariance, shrinkage = ledoit_wolf(drawn(seed, sessions=sessions))
    np.testing.assert_allclose(covariance, oracle.covariance_, rtol=1e-10)
    assert shrinkage == pytest.approx(oracle.shrinkage_, rel=1e-10)
    assert 0 < shrinkage <= 1


def test_lanes_keep_their_variance_whatever_their_unit() -> None:
    pnl, unit = drawn(1), np.array([1.0, 1e-3, 1e3, 50.0, 0.1])
    shrunk = shrunk_covariance(pnl, NAMES)
    np.testing.assert_allclose(np.diag(shrunk), pnl.var(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(shrunk_covariance(pnl * unit, NAMES), shrunk * np.outer(unit, unit), rtol=1e-9)
    # Shrunk as they are, a quiet lane is given the variance of the loud ones.
    raw, _ = ledoit_wolf(pnl * unit)
    assert raw[1, 1] > 10 * shrunk[1, 1] * unit[1] ** 2


def test_nothing_is_shrunk_of_a_single_lane() -> None:
    values = np.random.default_rng(0).normal(size=(50, 1))
    np.testing.assert_allclose(ledoit_wolf(values)[0], [[values.var()]])


def test_a_lane_that_does_not_move_and_a_missing_value_are_named() -> None:
    pnl = drawn(0)
    pnl[:, 2] = 4.0
    with pytest.raises(DataError, match="lane GC: its P&L does not move in 400 sessions"):
        shrunk_covariance(pnl, NAMES)
    with pytest.raises(DataError, match="5 lanes, 2 names"):
        shrunk_covariance(drawn(0), NAMES[:2])
    pnl[7, 1] = np.nan
    with pytest.raises(DataError, match=r"P&L of the lanes\[7, 1\]: nan"):
        LaneRisk.of(pnl, NAMES)


@given(SEEDS, st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_a_declared_correlation_is_rounded_and_semidefinite(seed: int, lanes: int) -> None:
    matrix = correlation_of(risk_of(seed, lanes).covariance).tolist()
    declared = np.array(CorrelationMatrix(symbols=NAMES[:lanes], matrix=matrix).matrix)
    np.testing.assert_array_equal(declared, np.round(declared, 4))
    assert np.linalg.eigvalsh(declared)[0] > -1e-8
    assert (np.diag(declared) == 1).all()


def test_groups_are_a_partition_of_the_lanes() -> None:
    assert partition(NAMES, {}) == ((0,), (1,), (2,), (3,), (4,))
    assert partition(NAMES, {"us": ["NQ", "ES"], "CL": ["GC"]}) == ((0,), (1, 3), (2,), (4,))
    with pytest.raises(ConfigError, match="group us: SI is no lane; lanes are CL, ES"):
        partition(NAMES, {"us": ["SI"]})
    with pytest.raises(ConfigError, match="lane ES: in groups us and all"):
        partition(NAMES, {"us": ["ES"], "all": ["ES"]})


@given(SEEDS, st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_every_method_gives_weights_that_scale_with_the_unit(seed: int, lanes: int) -> None:
    """Properties of all: >= 0, sum 1, and a lane in other units gets the same risk, `equal` apart."""
    pnl, unit = drawn(seed, lanes), np.exp(np.random.default_rng(seed + 1).normal(0, 3, lanes))
    here, there = LaneRisk.of(pnl, NAMES[:lanes]), LaneRisk.of(pnl * unit, NAMES[:lanes])
    for name, method in {**METHODS, **CONTROLS}.items():
        weights = method(here)
        assert weights.min() >= 0, name
        assert weights.sum() == pytest.approx(1), name
        units = scaled(weights, here.covariance, 10_000.0)
        assert np.sqrt(units @ here.covariance @ units * 252) == pytest.approx(10_000.0)
        if name not in ("equal", "min_variance", "max_sharpe", "hrp"):
            np.testing.assert_allclose(
                scaled(method(there), there.covariance, 10_000.0), units / unit, rtol=1e-7
            )


@given(SEEDS, st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_equal_contributions_are_equal_and_the_minimum_of_their_programme(seed: int, lanes: int) -> None:
    risk = risk_of(seed, lanes)
    weights = erc(risk)
    np.testing.assert_allclose(
        volatility_contributions(weights, risk.covariance),
        np.sqrt(weights @ risk.covariance @ weights) / lanes,
        rtol=1e-9,
    )
    correlation = correlation_of(risk.covariance)
    slow = minimize(
        lambda y: np.exp(y) @ correlation @ np.exp(y) / 2 - y.sum() / lanes, np.zeros(lanes), tol=1e-14
    )
    oracle = np.exp(slow.x) / np.sqrt(np.diag(risk.covariance))
    np.testing.assert_allclose(weights, oracle / oracle.sum(), rtol=1e-4)


@pytest.mark.uncompiled
def test_two_lanes_share_risk_by_volatility_whatever_their_correlation() -> None:
    for correlation in (-0.9, 0.0, 0.9):
        covariance = np.array([[4.0, 6.0 * correlation], [6.0 * correlation, 9.0]])
        np.testing.assert_allclose(equal_contributions(covariance), [0.6, 0.4])


def test_lanes_that_cancel_each_other_have_no_equal_contributions() -> None:
    with pytest.raises(DataError, match="no weights found in 10,000 sweeps"):
        equal_contributions(np.array([[1.0, -1.0], [-1.0, 1.0]]))


def test_groups_are_one_bet() -> None:
    """A second name of a market halves each of the two, and leaves the other lanes where they were."""
    pnl = np.random.default_rng(5).normal(size=(2000, 3)) * [100.0, 200.0, 400.0]
    twice = np.column_stack([pnl, pnl[:, 0] * 3.0])
    alone = LaneRisk.of(pnl, ["ES", "CL", "ZC"])
    names = ["ES", "CL", "ZC", "MES"]
    grouped = LaneRisk.of(twice, names, partition(names, {"us": ["ES", "MES"]}))
    units, both = (scaled(equal_risk(each), each.covariance, 1e4) for each in (alone, grouped))
    np.testing.assert_allclose(both[1:3], units[1:3], rtol=0.03)
    np.testing.assert_allclose([both[0], 3 * both[3]], units[0] / 2, rtol=0.03)
    ungrouped = LaneRisk.of(twice, names)
    spread = scaled(equal_risk(ungrouped), ungrouped.covariance, 1e4)
    assert spread[0] + 3 * spread[3] > 1.1 * units[0]


def test_one_group_of_all_is_inverse_volatility_and_none_is_equal_contributions() -> None:
    pnl = drawn(3)
    together = LaneRisk.of(pnl, NAMES, partition(NAMES, {"all": NAMES}))
    np.testing.assert_allclose(equal_risk(together), inverse_vol(together))
    np.testing.assert_allclose(equal_risk(LaneRisk.of(pnl, NAMES)), erc(together))
    np.testing.assert_allclose(inverse_vol(together), 1 / pnl.std(axis=0) / (1 / pnl.std(axis=0)).sum())


@pytest.mark.parametrize("seed", range(8))
def test_the_least_variance_and_the_best_ratio_are_those_of_a_general_solver(seed: int) -> None:
    risk = risk_of(seed)
    size = np.trace(risk.covariance)
    slow = by_slsqp(lambda w: float(w @ risk.covariance @ w / size * 1e3), 5)
    least = min_variance(risk)
    assert least @ risk.covariance @ least <= slow @ risk.covariance @ slow * (1 + 1e-9)
    np.testing.assert_allclose(least, slow, atol=2e-3)
    gains = risk.pnl.mean(axis=0)

    def ratio(weights: Floats) -> float:
        return float(weights @ gains / np.sqrt(weights @ risk.covariance @ weights))

    best = by_slsqp(lambda w: -ratio(w), 5)
    assert (gains > 0).any()
    assert ratio(max_sharpe(risk)) >= ratio(best) - 1e-9


def test_without_a_gain_the_best_ratio_is_that_of_equal_weights() -> None:
    pnl = drawn(0)
    falling = LaneRisk.of(pnl - pnl.mean(axis=0) - 1.0, NAMES)
    np.testing.assert_allclose(max_sharpe(falling), 0.2)


@pytest.mark.filterwarnings("ignore:.*hierarchical_clustering_estimator:FutureWarning")
@pytest.mark.parametrize("seed", range(5))
def test_hierarchical_weights_are_those_of_skfolio(seed: int) -> None:
    """Without a tie in the distances the tree is one, and halving it is the same in both."""
    pytest.importorskip("skfolio")
    from skfolio.cluster import HierarchicalClustering, LinkageMethod
    from skfolio.distance import PearsonDistance
    from skfolio.moments import EmpiricalCovariance
    from skfolio.optimization import HierarchicalRiskParity
    from skfolio.prior import EmpiricalPrior

    pnl = drawn(seed) / 1e4
    theirs = HierarchicalRiskParity(
        prior_estimator=EmpiricalPrior(covariance_estimator=EmpiricalCovariance()),
        distance_estimator=PearsonDistance(),
        hierarchical_clustering_estimator=HierarchicalClustering(linkage_method=LinkageMethod.SINGLE),
    ).fit(pnl)
    risk = LaneRisk(pnl=pnl, covariance=np.cov(pnl.T), groups=(), names=NAMES)
    np.testing.assert_allclose(hrp(risk), theirs.weights_, rtol=1e-6)


def test_a_target_must_be_a_risk() -> None:
    with pytest.raises(ConfigError, match="volatility target 0"):
        scaled(np.ones(2), np.eye(2), 0)
    with pytest.raises(DataError, match="no risk to scale"):
        scaled(np.zeros(2), np.eye(2), 1.0)


@given(SEEDS, st.sampled_from([0.01, 0.025, 0.05, 0.3]))
@settings(max_examples=40, deadline=None)
def test_contributions_add_up(seed: int, tail: float) -> None:
    risk = risk_of(seed)
    units = np.random.default_rng(seed).integers(0, 9, 5) + np.eye(5)[0]
    parts = volatility_contributions(units, risk.covariance)
    assert parts.sum() == pytest.approx(np.sqrt(units @ risk.covariance @ units), rel=1e-9)
    parts = shortfall_contributions(units, risk.pnl, tail)
    assert parts.sum() == pytest.approx(expected_shortfall(risk.pnl @ units, tail), rel=1e-9)


def test_a_contribution_is_what_one_more_unit_would_add() -> None:
    """Euler against a difference quotient; a lane's own risk, the naive part, is not it."""
    risk, units, step = risk_of(4), np.array([3.0, 1.0, 2.0, 5.0, 1.0]), 1e-6
    pnl = risk.pnl
    for lane in range(5):
        more = units.copy()
        more[lane] *= 1 + step
        volatilities = [np.sqrt(each @ risk.covariance @ each) for each in (units, more)]
        slope = (volatilities[1] - volatilities[0]) / step
        assert volatility_contributions(units, risk.covariance)[lane] == pytest.approx(slope, rel=1e-4)
        slope = (expected_shortfall(pnl @ more, 0.05) - expected_shortfall(pnl @ units, 0.05)) / step
        assert shortfall_contributions(units, pnl, 0.05)[lane] == pytest.approx(slope, rel=1e-4)
    alone = units * np.sqrt(np.diag(risk.covariance))
    assert alone.sum() > 1.05 * volatility_contributions(units, risk.covariance).sum()


def test_nothing_has_no_contributions() -> None:
    with pytest.raises(DataError, match="no volatility to share out"):
        volatility_contributions(np.zeros(5), np.eye(5))
    with pytest.raises(DataError, match="0 sessions, tail"):
        shortfall_contributions(np.ones(5), np.empty((0, 5)), 0.05)


def test_the_error_of_a_ratio_is_that_of_a_slow_bootstrap_by_arch() -> None:
    bootstrap = pytest.importorskip("arch.bootstrap")
    returns = np.random.default_rng(2).standard_t(4, 500) * 300 + 20
    samples = bootstrap.StationaryBootstrap(7, returns, seed=5).bootstrap(300)
    slow = np.std([sharpe(np.asarray(each[0][0])) for each in samples], ddof=1)
    assert sharpe_error(returns, block=7, resamples=300, seed=5) == pytest.approx(slow, rel=1e-9)
    with pytest.raises(DataError, match="40 equal values"):
        sharpe_error(np.ones(40))


def test_the_error_counts_dependence_in_time() -> None:
    """P&L that comes in runs of ten is known less well than its sessions say."""
    random = np.random.default_rng(3)
    runs = np.repeat(random.normal(size=200), 10) + random.normal(0, 0.1, 2000)
    plain = 1 / np.sqrt(2000)
    assert sharpe_error(runs, resamples=500) > 2 * plain
    assert sharpe_error(random.permutation(runs), resamples=500) == pytest.approx(plain, rel=0.15)


@pytest.mark.parametrize("sets", [1, 8, 11])
def test_drawdown_probabilities_are_those_of_a_slow_loop(sets: int) -> None:
    random = np.random.default_rng(sets)
    pnl = random.normal(20, 1_000, (sets, 300)) * np.linspace(0.5, 1.5, sets)[:, None]
    rows = resampled_rows(300, block=6, resamples=60, seed=1)
    bound = 20_000.0
    # A curve far from zero: the loss in USD from the highest so far, the start included.
    curves = [[curve_from(1e6, 1e6 + each[sample].cumsum()) for sample in rows] for each in pnl]
    slow = [np.mean([drawdowns(curve).max() > bound for curve in each]) for each in curves]
    found = drawdown_probabilities(pnl, rows, bound)
    np.testing.assert_array_equal(found, slow)
    assert sets == 1 or found.min() < 0.5 < found.max()


@pytest.mark.uncompiled
def test_a_loss_from_the_start_is_a_drawdown_and_the_bound_itself_is_not() -> None:
    rows = np.array([[0, 1, 2]], dtype=np.int32)
    falling = np.array([[-30.0, -30.0, -40.0]])
    assert drawdown_probabilities(falling, rows, 99.0)[0] == 1
    assert drawdown_probabilities(falling, rows, 100.0)[0] == 0
    assert drawdown_probabilities(-falling, rows, 1e-9)[0] == 0


def test_blocks_keep_the_runs_of_losses_that_single_sessions_lose() -> None:
    """The control: sessions drawn one by one make a desk with losing streaks look safe."""
    random = np.random.default_rng(7)
    pnl = np.repeat(random.normal(0, 1_000, 50), 20)[None]
    pnl += 100 - pnl.mean()
    safe, true = (
        drawdown_probabilities(pnl, resampled_rows(1000, block=block, resamples=400, seed=2), 80_000.0)[0]
        for block in (1, 40)
    )
    assert safe < true / 2


def test_rows_are_blocks_of_the_declared_length_and_all_sessions_alike() -> None:
    rows = resampled_rows(200, block=8, resamples=500, seed=3)
    assert (rows.shape, rows.dtype) == ((500, 200), np.int32)
    breaks = ((rows[:, 1:] - rows[:, :-1]) % 200 != 1).mean()
    assert breaks == pytest.approx(1 / 8, abs=0.01)
    assert kstest(rows[:, ::25].ravel() / 200, "uniform").pvalue > 0.001
    np.testing.assert_array_equal(rows, resampled_rows(200, block=8, resamples=500, seed=3))
    assert (rows != resampled_rows(200, block=8, resamples=500, seed=4)).any()


def test_bad_bounds_rows_and_draws_are_refused() -> None:
    rows = resampled_rows(20, block=2, resamples=3, seed=0)
    with pytest.raises(ConfigError, match="drawdown -1"):
        drawdown_probabilities(np.ones((1, 20)), rows, -1)
    with pytest.raises(DataError, match="numbers of the 5 sessions"):
        drawdown_probabilities(np.ones((1, 5)), rows, 1)
    with pytest.raises(ConfigError, match="resamples 0"):
        resampled_rows(20, block=2, resamples=0, seed=0)
