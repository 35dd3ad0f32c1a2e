"""Forward evidence keeps its rates in years of noise, and wrong rules are found by the same assertions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy.stats import norm

from lockstep.metrics import Floats, Integers
from lockstep.monitoring.eprocess import (
    BETS,
    FULL,
    PILOT,
    SESSIONS,
    alarm_threshold,
    e_bh,
    e_process,
    history_evidence,
)
from simulation.forward import (
    LAWS,
    MARKET_SHARPE,
    SPREAD,
    TOGETHER,
    Cohorts,
    Rule,
    Searched,
    cohorts,
    search,
    student,
    tried_since,
)
from simulation.rates import (
    FORWARD_POWER,
    POWER_52,
    WITHIN,
    bound,
    budget_bound,
    by_asymptotic_sequence,
    by_confidence_sequence,
    by_t_test,
    power,
    until_alarm,
    winners_among_equals,
)

YEARS = 200
PATHS = 20_000
QUARTER = 63
Process = Callable[[Floats], Floats]


def test_the_bounds_are_those_that_rates_are_judged_by() -> None:
    assert [bound(0.05, count) for count in (100, 200, 1000, 2000)] == [13, 21, 73, 131]


def assert_mean_one(process: Process) -> None:
    """After a quarter the mean is 1 within three Monte Carlo errors, under every law without an edge."""
    for number, (name, law) in enumerate(LAWS.items()):
        value = process(law(np.random.default_rng((1, number)), (PATHS, QUARTER)))[:, -1]
        error = value.std() / math.sqrt(PATHS)
        assert abs(value.mean() - 1) < 3 * error, f"{name}: {value.mean():.3f} with an error of {error:.3f}"


def assert_rarely_high(process: Process) -> None:
    """Somewhere in three years c is reached with a probability of at most 1 / c."""
    for number, (name, law) in enumerate(LAWS.items()):
        highest = process(law(np.random.default_rng((2, number)), (2_000, 3 * SESSIONS))).max(axis=1)
        for c in (6, 12, 52, 60):
            reached = int((highest >= c).sum())
            assert reached <= bound(1 / c, 2_000), f"{name}: {reached} of 2,000 reach {c}"


def test_the_mean_of_the_evidence_is_one_without_an_edge() -> None:
    assert_mean_one(e_process)


def test_high_evidence_is_rare_without_an_edge() -> None:
    assert_rarely_high(e_process)


def sigma_again(x: Floats) -> Floats:
    """Divide by the deviation so far, the session itself included, instead of the frozen one."""
    count = np.arange(1, x.shape[-1] + 1)
    return e_process(x / np.sqrt(np.cumsum(x**2, axis=-1) / count))


def bet_afterwards(x: Floats) -> Floats:
    """Take the bet that did best, instead of the mean over all."""
    return np.max([np.cumprod(np.maximum(1 + bet * x, 0), axis=-1) for bet in BETS], axis=0)


def floor_under_x(x: Floats) -> Floats:
    """Clip the result instead of the factor."""
    return e_process(np.maximum(x, -3.0))


def best_history(x: Floats) -> Floats:
    """Multiply by the history of an adaptive search: the best of 350 that counts as one trial."""
    z = np.random.default_rng(3).normal(size=(len(x), 350)).max(axis=1)
    said = [history_evidence(float(p), 1, adaptive=False) for p in norm.sf(z)]
    return np.array(said)[:, None] * e_process(x)


@pytest.mark.parametrize("wrong", [sigma_again, bet_afterwards, floor_under_x, best_history])
def test_wrong_evidence_has_another_mean(wrong: Process) -> None:
    with pytest.raises(AssertionError):
        assert_mean_one(wrong)


@pytest.mark.parametrize("wrong", [sigma_again, bet_afterwards, best_history])
def test_wrong_evidence_is_high_too_often(wrong: Process) -> None:
    with pytest.raises(AssertionError):
        assert_rarely_high(wrong)


@pytest.fixture(scope="module")
def noise() -> Searched:
    return search(YEARS, 1)


@pytest.fixture(scope="module")
def learning() -> Searched:
    return search(YEARS, 1, learns=True)


@pytest.fixture(scope="module")
def drift() -> Searched:
    return search(YEARS, 1, market_sharpe=MARKET_SHARPE)


def assert_within_budget(searched: Searched, rule: Rule) -> Cohorts:
    """The mean number of false promotions is at most what is allowed, within its 99.9 % bound."""
    found = cohorts(searched, rule)
    assert found.mean <= budget_bound(rule.allowed, searched.years), (
        f"{found.mean:.2f} false promotions a year, {rule.allowed} allowed"
    )
    return found


@pytest.mark.parametrize("allowed", [PILOT, FULL])
def test_years_of_noise(noise: Searched, allowed: float) -> None:
    for nights in (SPREAD, TOGETHER):
        assert_within_budget(noise, Rule(allowed=allowed, nights=nights))


def test_waiting_for_a_lucky_night_does_not_help(noise: Searched) -> None:
    """History spends the budget as well: weight x evidence sums to 1 at most, whoever waits."""
    some, waiting = noise.first(50), {"allowed": PILOT, "nights": range(1, 251), "floor": 0.6}
    assert assert_within_budget(some, Rule(**waiting)).history <= 1
    # With trials counted as they come it is overdrawn; only the slack of forward evidence makes up for it.
    assert assert_within_budget(some, Rule(counted=tried_since, **waiting)).history > 1


@pytest.mark.parametrize("allowed", [PILOT, FULL])
def test_years_of_a_search_that_learns(learning: Searched, allowed: float) -> None:
    assert np.median(learning.p_value.min(axis=(1, 2))) < 1e-12, "it learned nothing"
    assert_within_budget(learning, Rule(allowed=allowed, adaptive=True))


@pytest.mark.parametrize("allowed", [PILOT, FULL])
def test_years_of_drift_alone(drift: Searched, allowed: float) -> None:
    assert_within_budget(drift, Rule(allowed=allowed))


def test_drift_that_is_left_in_is_found() -> None:
    with pytest.raises(AssertionError):
        assert_within_budget(
            search(60, 1, market_sharpe=MARKET_SHARPE, residual=False), Rule(allowed=PILOT, adaptive=True)
        )


def refunded(spent: Sequence[float], ages: Sequence[int]) -> Sequence[float]:
    """Take back the weight of what did not convince in a month."""
    return [share for share, age in zip(spent, ages, strict=True) if age < 20]


def reset(nights: Integers, registered: Sequence[int], now: int) -> Integers:
    """Count from the last registration, whenever the candidate was first evaluated."""
    return np.full(len(nights), 50 * (now - max(registered, default=0)))


def test_a_refunded_weight_is_found(noise: Searched) -> None:
    with pytest.raises(AssertionError):
        assert_within_budget(noise.first(20), Rule(allowed=PILOT, nights=range(1, 251), spent=refunded))


def test_a_count_that_is_reset_is_found(noise: Searched) -> None:
    with pytest.raises(AssertionError):
        assert_within_budget(noise, Rule(allowed=PILOT, nights=TOGETHER, counted=reset))


@pytest.mark.parametrize("allowed", [PILOT, FULL])
def test_history_of_a_search_that_learns_is_found(learning: Searched, allowed: float) -> None:
    with pytest.raises(AssertionError):
        assert_within_budget(learning, Rule(allowed=allowed, adaptive=False))


def test_power_is_what_the_page_says() -> None:
    forward, with_history = power(1, 3_000)
    for key, stated in FORWARD_POWER.items():
        assert forward[key] == pytest.approx(stated, abs=WITHIN), key
    for sharpe, stated in POWER_52.items():
        assert with_history[sharpe][:2] == pytest.approx(stated, abs=WITHIN), sharpe


def test_discoveries_among_candidates_are_false_at_the_stated_rate() -> None:
    """Of 40 candidates 10 have a Sharpe ratio of 4; every one shares half of its variance with the rest."""
    random = np.random.default_rng(5)
    shares, found = [], []
    for _ in range(100):
        x = (student(random, (40, SESSIONS)) + student(random, (1, SESSIONS))) / math.sqrt(2)
        x[:10] += 4 / math.sqrt(SESSIONS)
        named = e_bh(e_process(x)[:, -1], 0.1)
        shares.append(named[10:].sum() / max(named.sum(), 1))
        found.append(named[:10].mean())
    assert np.mean(shares) <= 0.1
    assert np.mean(found) > 0.4


def assert_ten_years_apart(threshold: float) -> None:
    mean, error = until_alarm(6, threshold, 150)
    assert mean >= 10 * SESSIONS - 3 * error, f"{mean:,.0f} sessions apart"


def test_false_alarms_of_the_detector_are_ten_years_apart() -> None:
    assert_ten_years_apart(alarm_threshold())
    with pytest.raises(AssertionError):
        assert_ten_years_apart(alarm_threshold(10 / len(BETS)))


@pytest.mark.parametrize("law", ["student", "rare_loss"])
def test_peeking_at_a_confidence_sequence_is_allowed(law: str) -> None:
    assert winners_among_equals(by_confidence_sequence, law, 100) <= bound(0.05, 100)


def test_peeking_at_other_tests_names_winners_among_equals() -> None:
    assert winners_among_equals(by_t_test, "student", 2_000) > bound(0.3, 2_000)
    assert winners_among_equals(by_asymptotic_sequence, "student", 2_000) <= bound(0.05, 2_000)
    assert winners_among_equals(by_asymptotic_sequence, "rare_loss", 2_000) > bound(0.1, 2_000)
