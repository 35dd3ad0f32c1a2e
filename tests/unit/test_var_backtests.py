"""`research.statistics.var_backtests`: statistics, p-values, size and power."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks import var_backtests as simulated
from lockstep.errors import DataError
from lockstep.metrics import Floats
from research.statistics.var_backtests import (
    NAMES,
    TailForecasts,
    backtest_forecasts,
    coverage_statistic,
    e_backtest,
    e_values,
    independence_statistic,
    shortfall_statistics,
)

TAIL = 0.05


def forecasts(sessions: int, scale: float = 1.0, tail: float = TAIL) -> TailForecasts:
    var, shortfall, severity = simulated.tail_of(stats.norm(), tail)
    return TailForecasts(
        var=np.full(sessions, scale * var),
        es=np.full(sessions, scale * shortfall),
        severity=np.broadcast_to(severity, (sessions, severity.size)),
    )


def drawn(sessions: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(sessions)


@pytest.mark.parametrize("tail", [0.05, 0.01])
def test_right_forecasts_are_rejected_as_often_as_said(tail: float) -> None:
    runs = 300
    found = simulated.rejections(stats.t(5), 250, tail, 1.0, runs, 11, draws=199)
    assert {name: count for name, count in found.items() if not simulated.within(count, runs, name)} == {}


def test_forecasts_that_are_too_low_are_found() -> None:
    runs = 60
    found = simulated.rejections(stats.norm(), 250, 0.01, 0.7, runs, 12, draws=199)
    assert {name: found[name] / runs > 0.8 for name in ("kupiec", "conditional_coverage", "shortfall")} == {
        "kupiec": True, "conditional_coverage": True, "shortfall": True,
    }  # fmt: skip
    assert found["e_process"] / runs > 0.8


def test_asymptotic_laws_would_reject_too_often() -> None:
    """The negative control: what the Monte Carlo p-values are for."""
    found = simulated.asymptotic_rejections(250, 0.01, 20_000, 1)
    assert found["kupiec"] > 0.07
    assert not simulated.within(round(found["kupiec"] * 2_000), 2_000, "kupiec")


def test_violations_in_a_row_are_found_by_independence_alone() -> None:
    pnl = np.abs(drawn(500))
    pnl[100:125] = -2.0
    found = backtest_forecasts(pnl, forecasts(500), TAIL)
    assert found.hits == 25 == found.expected
    assert found.tests["independence"].p_value == 0.001
    assert found.tests["conditional_coverage"].is_rejected
    assert not found.tests["kupiec"].is_rejected


def test_violations_that_are_too_deep_are_found_by_the_shortfall() -> None:
    pnl = np.abs(drawn(500))
    pnl[::20] = -6.0
    found = backtest_forecasts(pnl, forecasts(500), TAIL)
    assert found.hits == 25
    assert found.rejected == ("shortfall_given_hit", "shortfall")
    assert found.tests["shortfall_given_hit"].statistic < -1
    assert found.alarm is not None


def test_too_few_violations_are_found_by_coverage_alone() -> None:
    found = backtest_forecasts(drawn(1000), forecasts(1000, 1.6), TAIL)
    assert "kupiec" in found.rejected
    assert not {"shortfall", "shortfall_given_hit"} & set(found.rejected)
    assert found.alarm is None


def test_without_a_violation_depth_has_no_statistic_and_no_evidence() -> None:
    found = backtest_forecasts(np.ones(100), forecasts(100), TAIL)
    assert np.isnan(found.tests["shortfall_given_hit"].statistic)
    assert found.tests["shortfall_given_hit"].p_value > 0.5
    assert found.tests["kupiec"].is_rejected


def test_equal_seeds_give_equal_answers() -> None:
    one, same, other = (backtest_forecasts(drawn(250), forecasts(250), TAIL, seed=seed) for seed in (3, 3, 4))
    assert dict(one.tests) == dict(same.tests)
    assert dict(one.tests) != dict(other.tests)
    assert tuple(one.tests) == NAMES


def test_statistics_against_the_obvious_loops() -> None:
    rng = np.random.default_rng(6)
    for _ in range(20):
        hits = rng.random(60) < 0.15
        share = hits.mean()
        free = float(np.log(np.where(hits, share, 1 - share)).sum()) if 0 < share < 1 else 0.0
        given = float(np.log(np.where(hits, TAIL, 1 - TAIL)).sum())
        assert float(coverage_statistic(hits.sum(), 60, TAIL)) == pytest.approx(2 * (free - given))
        assert float(independence_statistic(hits)) == pytest.approx(markov(hits), abs=1e-9)


def markov(hits: Any) -> float:
    """Return the likelihood ratio, one step after the other."""
    after: dict[bool, list[bool]] = {False: [], True: []}
    for before, now in pairwise(hits):
        after[bool(before)].append(bool(now))
    together = after[False] + after[True]

    def fitted(steps: list[bool]) -> float:
        share = sum(steps) / len(steps) if steps else 0.0
        return sum(np.log(share if step else 1 - share) for step in steps)

    return float(2 * (fitted(after[False]) + fitted(after[True]) - fitted(together)))


def test_shortfall_statistics_by_hand() -> None:
    hits = np.array([True, False, True, False])
    given_hit, whole = shortfall_statistics(hits, np.array([1.5, 9.0, 0.9, 9.0]), 0.25)
    assert float(given_hit) == pytest.approx(1 - 1.2)
    assert float(whole) == pytest.approx(1 - 2.4 / (4 * 0.25))


def test_e_values_are_fair_for_right_forecasts_only() -> None:
    loss = -drawn(400_000, 8)
    right, low = (
        e_values(loss, each.var, each.es, TAIL) for each in (forecasts(loss.size), forecasts(loss.size, 0.7))
    )
    assert right.mean() == pytest.approx(1.0, abs=0.03)
    assert low.mean() > 2
    assert np.isnan(e_values([3.0], [2.0], [2.0], TAIL)).all()
    assert (e_backtest([3.0], [2.0], [2.0], TAIL) == 1.0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"var": np.zeros(9)}, "need one of each"),
        ({"es": np.full(10, 0.1)}, "expected shortfall 0.1 below value at risk"),
        ({"severity": np.ones((9, 3))}, "need one row per session, 10"),
        ({"var": np.full(10, np.nan)}, "missing or infinite"),
    ],
)
def test_what_cannot_be_judged_is_refused(change: dict[str, Floats], message: str) -> None:
    good = forecasts(10)
    values = {"var": good.var, "es": good.es, "severity": good.severity} | change
    with pytest.raises(DataError, match=message):
        backtest_forecasts(drawn(10), TailForecasts(**values), TAIL)
    with pytest.raises(DataError, match=r"tail 0\.95"):
        backtest_forecasts(drawn(10), good, 0.95)
