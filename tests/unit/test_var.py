"""`lockstep.portfolio.var` and its decomposition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import DataError
from lockstep.metrics import Floats
from lockstep.portfolio.var import (
    METHODS,
    WARM_UP,
    Method,
    calculate_cvar,
    calculate_var,
    ewma_covariance,
    ewma_deviations,
    filtered_scenarios,
    in_domain,
    sessions_needed,
    tail_risk,
)
from lockstep.portfolio.var_decomposition import VarDecomposition, var_decomposition

SYMBOLS = ("ES", "GC", "ZC")
SCALES = np.array([900.0, 400.0, 120.0])


def drawn(seed: int, sessions: int = 400, freedom: float = 30.0) -> Floats:
    """Return changes of three lanes that hang together, USD per contract."""
    rng = np.random.default_rng(seed)
    mixed = np.array([[1.0, 0.0, 0.0], [0.4, 0.9, 0.0], [-0.2, 0.3, 0.9]])
    return np.asarray(rng.standard_t(freedom, size=(sessions, 3)) @ mixed.T * SCALES)


def decomposed(seed: int, positions: list[float], method: Method, tail: float = 0.05) -> VarDecomposition:
    return var_decomposition(drawn(seed), positions, SYMBOLS, tail, method=method)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 40),
    positions=st.lists(st.integers(-5, 5), min_size=3, max_size=3).filter(any),
)
def test_components_add_up(method: Method, seed: int, positions: list[int]) -> None:
    changes = drawn(seed)
    if method == "cornish_fisher":
        changes = np.random.default_rng(seed).standard_t(7, size=(2500, 3)) * SCALES
    found = var_decomposition(changes, positions, SYMBOLS, 0.05, method=method)
    for parts, total in (
        (found.component_var, found.total.var),
        (found.component_es, found.total.es),
    ):
        assert abs(parts.sum() - total) <= 1e-9 * max(abs(total), 1.0)


@pytest.mark.parametrize("method", ["filtered", "historical", "normal", "cornish_fisher"])
def test_marginal_is_the_slope(method: Method) -> None:
    changes = np.random.default_rng(5).standard_t(8, size=(1500, 3)) * SCALES
    held, step = np.array([2.0, -1.0, 0.0]), 1e-5
    found = var_decomposition(changes, held, SYMBOLS, 0.05, method=method)
    for lane in range(3):
        more = held.copy()
        more[lane] += step
        moved = tail_risk(changes * more, 0.05, method=method)
        assert (moved.var - found.total.var) / step == pytest.approx(found.marginal_var[lane], rel=1e-3)
        assert (moved.es - found.total.es) / step == pytest.approx(found.marginal_es[lane], rel=1e-3)


@pytest.mark.parametrize("method", ["filtered", "historical", "normal"])
def test_incremental_is_the_difference_without_the_lane(method: Method) -> None:
    found = decomposed(1, [1.0, 2.0, -3.0], method)
    without = calculate_var(drawn(1) * [1.0, 0.0, -3.0], 0.05, method=method)
    assert found.incremental_var[1] == pytest.approx(found.total.var - without)
    alone = calculate_cvar(drawn(1) * [0.0, 2.0, 0.0], 0.05, method=method)
    assert found.alone_es[1] == pytest.approx(alone)


@pytest.mark.parametrize("method", METHODS)
def test_risk_scales_with_the_positions(method: Method) -> None:
    pnl = drawn(7)
    once, twice = (tail_risk(pnl * size, 0.05, method=method) for size in (1.0, 2.0))
    assert twice == pytest.approx((2 * once.var, 2 * once.es))
    assert once.es >= once.var > 0


def test_a_hedge_takes_risk_away() -> None:
    changes = np.repeat(drawn(2)[:, :1], 3, axis=1)
    found = var_decomposition(changes, [2.0, -1.0, 0.0], SYMBOLS, 0.05)
    assert found.component_var[1] < 0 < found.component_var[0]
    assert found.incremental_es[1] < 0


def test_filtered_follows_the_volatility_of_today() -> None:
    calm, wild = drawn(3, 300), 4 * drawn(4, 60)
    after, before = np.concatenate((calm, wild)), np.concatenate((wild, calm))
    filtered = [calculate_var(each, 0.05) for each in (after, before)]
    plain = [calculate_var(each, 0.05, method="historical") for each in (after, before)]
    assert filtered[0] > 2 * filtered[1]
    assert plain[0] == plain[1]


def test_forecasts_do_not_know_their_own_session() -> None:
    rows = drawn(8, 120)
    changed = rows.copy()
    changed[100:] *= 50
    one, other = ewma_deviations(rows), ewma_deviations(changed)
    assert np.array_equal(one[: 100 + 1], other[: 100 + 1], equal_nan=True)
    assert (other[101] > one[101]).all()
    assert np.isnan(one[:WARM_UP]).all()
    assert np.isfinite(one[WARM_UP:]).all()
    assert one.shape == (121, 3)


def test_covariance_has_the_deviations_on_its_diagonal() -> None:
    rows = drawn(9, 200)
    assert np.sqrt(np.diag(ewma_covariance(rows))) == pytest.approx(ewma_deviations(rows)[-1], rel=1e-12)
    total = rows.sum(axis=1, keepdims=True)
    assert np.sqrt(ewma_covariance(rows).sum()) == pytest.approx(ewma_deviations(total)[-1, 0], rel=1e-12)


def test_filtered_against_the_obvious_loop() -> None:
    rows = drawn(10, 90)
    found = filtered_scenarios(rows, 0.9)
    for lane in range(3):
        variance, devoted = float(np.mean(rows[:20, lane] ** 2)), []
        for value in rows[20:, lane]:
            devoted.append(value / variance**0.5)
            variance = 0.9 * variance + 0.1 * value**2
        assert found[:, lane] == pytest.approx(np.array(devoted) * variance**0.5, rel=1e-12)


def test_no_position_is_no_risk() -> None:
    found = var_decomposition(drawn(11), [0.0, 0.0, 0.0], SYMBOLS, 0.01)
    assert found.total == (0.0, 0.0)
    assert not found.component_var.any()


@pytest.mark.parametrize(
    ("tail", "method", "sessions"),
    [(0.05, "historical", 50), (0.01, "historical", 250), (0.05, "filtered", 70), (0.01, "filtered", 270)],
)
def test_too_few_sessions_are_refused_and_counted(tail: float, method: Method, sessions: int) -> None:
    assert sessions_needed(tail, method) == sessions
    calculate_var(drawn(12, sessions), tail, method=method)
    with pytest.raises(DataError, match=rf"at {1 - tail:g} .*: {sessions - 1} sessions, needs {sessions} "):
        calculate_var(drawn(12, sessions - 1), tail, method=method)


def test_cornish_fisher_is_refused_outside_its_domain() -> None:
    heavy = np.random.default_rng(13).standard_t(2, size=1000)
    with pytest.raises(
        DataError, match=r"Cornish-Fisher: skew .* lie outside its domain.*use method filtered"
    ):
        calculate_var(heavy, 0.01, method="cornish_fisher")
    z = np.linspace(-4, 4, 4001)
    for skewness, excess in ((-0.5, 1.0), (0.3, 3.0), (-1.5, 5.0), (0.9, 0.5), (0.0, 8.5)):
        bent = (
            z
            + (z**2 - 1) * skewness / 6
            + (z**3 - 3 * z) * excess / 24
            - (2 * z**3 - 5 * z) * skewness**2 / 36
        )
        if in_domain(skewness, excess):
            assert (np.diff(bent) > 0).all()
    assert in_domain(-0.5, 1.0)
    assert not in_domain(0.9, 0.5)


@pytest.mark.parametrize(
    ("given_pnl", "message"),
    [
        (np.full((300, 2), np.nan), "missing or infinite"),
        (np.zeros((300, 0)), "need sessions"),
        (np.concatenate((np.zeros((30, 1)), np.ones((300, 1)))), "did not move in 20 sessions"),
    ],
)
def test_what_cannot_be_measured_is_refused(given_pnl: Floats, message: str) -> None:
    with pytest.raises(DataError, match=message):
        calculate_var(given_pnl, 0.05)


def test_other_arguments_are_refused() -> None:
    with pytest.raises(DataError, match=r"must be one of filtered, historical"):
        calculate_var(drawn(1), 0.05, method="gaussian")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"tail 0\.95"):
        calculate_var(drawn(1), 0.95)
    with pytest.raises(DataError, match=r"decay 1\.5"):
        calculate_var(drawn(1), 0.05, decay=1.5)
    with pytest.raises(DataError, match="2 positions, 3 names, 3 columns"):
        var_decomposition(drawn(1), [1.0, 2.0], SYMBOLS)
