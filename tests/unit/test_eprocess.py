"""Forward evidence: exact means by enumeration, the slow and obvious way, missing sessions, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats
from lockstep.monitoring.eprocess import (
    BETS,
    FULL,
    PILOT,
    alarm_threshold,
    confidence_sequence,
    e_bh,
    e_detector,
    e_process,
    first_reached,
    history_evidence,
    observed,
    promotion_threshold,
    standardised,
    weight,
)

NAN = math.nan
SESSIONS = 10

# Two values, their chances, mean 0: fair, a rare loss just inside the guarantee, a rare gain.
LAWS = {
    "coin": ((1.0, -1.0), (0.5, 0.5)),
    "rare loss": ((0.5, -6.5), (13 / 14, 1 / 14)),
    "rare gain": ((-0.25, 5.75), (23 / 24, 1 / 24)),
}
paths = st.lists(st.floats(-20, 20) | st.just(NAN), min_size=1, max_size=30)


def every_path(law: str) -> tuple[Floats, Floats]:
    """Return all 2^10 paths of a law, and the chance of each."""
    values, chances = LAWS[law]
    numbers = np.array(list(product((0, 1), repeat=SESSIONS)))
    return np.array(values)[numbers], np.array(chances)[numbers].prod(axis=1)


def assert_mean_one(process: Callable[[Floats], Floats], law: str) -> None:
    x, chance = every_path(law)
    assert chance @ process(x)[:, -1] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_the_mean_of_the_evidence_is_exactly_one_without_an_edge(law: str) -> None:
    assert_mean_one(e_process, law)


def scaled_by_itself(x: Floats) -> Floats:
    return e_process(x / (x.std(axis=-1, keepdims=True) + 0.1))


def best_bet(x: Floats) -> Floats:
    return np.max([np.cumprod(np.maximum(1 + bet * x, 0), axis=-1) for bet in BETS], axis=0)


def floored(x: Floats) -> Floats:
    return e_process(np.maximum(x, -3.0))


@pytest.mark.parametrize("wrong", [scaled_by_itself, best_bet, floored])
def test_wrong_processes_have_another_mean(wrong: Callable[[Floats], Floats]) -> None:
    with pytest.raises(AssertionError):
        assert_mean_one(wrong, "rare loss")


@settings(max_examples=100, deadline=None)
@given(x=paths)
def test_the_evidence_equals_a_loop(x: list[float]) -> None:
    fortunes, expected = dict.fromkeys(BETS, 1.0), []
    for each in x:
        for bet in BETS:
            fortunes[bet] *= 1.0 if math.isnan(each) else max(1 + bet * each, 0.0)
        expected.append(sum(fortunes.values()) / 7)
    np.testing.assert_allclose(e_process(x), expected, rtol=1e-9)


@settings(max_examples=100, deadline=None)
@given(x=paths)
def test_the_detector_equals_a_loop(x: list[float]) -> None:
    started, expected = dict.fromkeys(BETS, 0.0), []
    for each in x:
        for bet in BETS:
            if not math.isnan(each):
                started[bet] = (started[bet] + 1 / 7) * (1 - bet * min(each, 6.0))
        expected.append(sum(started.values()))
    np.testing.assert_allclose(e_detector(x), expected, rtol=1e-9)


@pytest.mark.parametrize("path", [e_process, e_detector])
def test_candidates_do_not_touch_one_another(path: Callable[[Floats], Floats]) -> None:
    x = np.random.default_rng(1).standard_t(5, (3, 4, 50))
    together = path(x)
    assert together.shape == x.shape
    assert np.array_equal(together[1, 2], path(x[1, 2]))


@pytest.mark.parametrize("path", [e_process, e_detector])
def test_a_missing_session_changes_nothing_and_is_said(path: Callable[[Floats], Floats]) -> None:
    whole = np.array([0.5, -1.0, 2.0])
    with_hole = np.array([0.5, NAN, -1.0, 2.0])
    assert np.array_equal(path(with_hole)[[0, 2, 3]], path(whole))
    assert path(with_hole)[1] == path(with_hole)[0]
    assert observed(with_hole).tolist() == [1, 1, 2, 3]


def test_a_ruined_bet_stays_ruined_and_a_fortune_stays_finite() -> None:
    ruined = e_process([-7.0] + [5.0] * 10_000)
    assert ruined[0] == pytest.approx(np.mean([max(1 - 7 * bet, 0) for bet in BETS]))
    assert np.isfinite(ruined).all()
    assert e_process([-200.0, 1e6])[-1] == 0.0


def test_the_market_is_taken_out_by_each_candidates_own_exposure() -> None:
    market = np.array([0.02, -0.01, NAN])
    returns = np.array([[0.03, 0.0, 0.0], [0.01, 0.01, 0.01]])
    x = standardised(returns, market, beta=[0.5, 0.0], sigma=[0.01, 0.02])
    np.testing.assert_allclose(x, [[2.0, 0.5, NAN], [0.5, 0.5, NAN]])


def test_history_counts_once_by_half_the_inverse_root_of_the_corrected_p_value() -> None:
    assert history_evidence(1e-6, 100, adaptive=False) == pytest.approx(0.5 / math.sqrt(1e-4))
    assert history_evidence(0.02, 100, adaptive=False) == 0.5
    assert history_evidence(1e-12, 1, adaptive=True) == 1.0
    grid = (np.arange(100_000) + 0.5) / 100_000
    assert np.mean([history_evidence(p, 1, adaptive=False) for p in grid]) == pytest.approx(1.0, abs=2e-3)


def test_a_p_value_that_was_rounded_to_zero_is_finite_evidence() -> None:
    assert history_evidence(0.0, 350, adaptive=False) == history_evidence(1e-300, 350, adaptive=False)
    assert 1e5 < history_evidence(0.0, 350, adaptive=False) < 1e9


@settings(max_examples=50, deadline=None)
@given(limits=st.lists(st.integers(1, 60), min_size=1, max_size=80))
def test_the_weights_of_a_year_never_exceed_it_whatever_the_limit_was(limits: list[int]) -> None:
    spent: list[float] = []
    for per_year in limits:
        spent.append(weight(spent, per_year=per_year))
    assert math.fsum(spent) <= 1 + 1e-9


def test_a_year_holds_twelve_registrations_and_no_thirteenth() -> None:
    spent: list[float] = []
    while (share := weight(spent)) > 0:
        spent.append(share)
    assert len(spent) == 12
    assert promotion_threshold(spent[-1], PILOT) == pytest.approx(6.0)
    assert promotion_threshold(spent[-1], FULL) == pytest.approx(60.0)
    assert promotion_threshold(weight(spent), PILOT) == math.inf
    assert promotion_threshold(1 / 52, 1.0) == pytest.approx(52.0)


def test_a_limit_that_is_changed_during_the_year_holds_at_once_and_makes_no_new_budget() -> None:
    spent = [1 / 52] * 12
    assert weight(spent, per_year=52) == 1 / 52
    assert weight(spent, per_year=12) == 0.0
    assert weight([0.25] * 4, per_year=52) == 0.0


def test_the_first_session_at_or_above_the_threshold() -> None:
    path = [[1.0, 6.0, 7.0], [1.0, 2.0, 3.0]]
    assert first_reached(path, 6.0).tolist() == [1, -1]
    assert first_reached(path, [7.0, 1.0]).tolist() == [2, 0]
    assert int(first_reached([1.0, 2.0], 2.0)) == 1


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(
        st.sampled_from((0.0, 1.0, 5.0, 10.0, 12.5, 20.0, 25.0, 50.0, 100.0, math.inf)), max_size=8
    ),
    rate=st.sampled_from((0.05, 0.1, 0.2)),
)
def test_the_discoveries_are_the_largest_set_that_confirms_itself(values: list[float], rate: float) -> None:
    """Every discovery is at least n / (k rate), and no larger set of the greatest values is."""
    found = e_bh(values, rate)
    count = int(found.sum())
    falling = sorted(values, reverse=True)
    assert sorted(np.array(values)[found], reverse=True) == falling[:count]
    assert all(value >= len(values) / (count * rate) for value in falling[:count])
    assert not any(
        falling[more - 1] >= len(values) / (more * rate) for more in range(count + 1, len(values) + 1)
    )


def test_a_candidate_of_today_has_no_sessions_yet() -> None:
    nothing = np.empty((2, 0))
    assert e_process(nothing).shape == e_detector(nothing).shape == (2, 0)
    assert first_reached(e_process(nothing), [6.0, 60.0]).tolist() == [-1, -1]


def test_alarms_are_set_ten_years_apart() -> None:
    assert alarm_threshold() == 2520
    # One loss after another: the detector gets there, and a run of gains never does.
    assert first_reached(e_detector(np.full(400, -0.5)), alarm_threshold()) > 0
    assert e_detector(np.full(4000, 0.2)).max() < alarm_threshold() / 10


def test_the_confidence_sequence_is_what_the_evidence_does_not_refute() -> None:
    x = np.random.default_rng(3).standard_t(5, 200) / math.sqrt(5 / 3) + 0.1
    low, high = confidence_sequence(x, level=0.9)
    for at in (120, 199):
        for mean, side in ((low[at], 1.0), (high[at], -1.0)):
            assert e_process(side * (x - mean))[at] == pytest.approx(2 / 0.1, rel=0.01)
    assert (low < high).all()


def test_a_mean_is_refuted_when_the_evidence_against_it_is_high() -> None:
    x = np.random.default_rng(4).normal(0.15, 1.0, (20, 400))
    low, _ = confidence_sequence(x)
    assert np.array_equal(low > 0, e_process(x) > 40)
    assert 0.2 < (low[:, -1] > 0).mean() < 0.8


def test_a_missing_difference_leaves_the_bounds_and_a_shift_moves_them() -> None:
    x = np.random.default_rng(5).normal(size=300)
    low, high = confidence_sequence(x)
    assert low[0] == -math.inf
    assert high[0] == math.inf
    with_hole = np.insert(x, 150, NAN)
    assert np.array_equal(np.delete(confidence_sequence(with_hole)[0], 150), low)
    assert confidence_sequence(x + 0.2)[1][-1] == pytest.approx(high[-1] + 0.2, abs=1e-3)
    assert confidence_sequence(-x)[0][-1] == -high[-1]


def test_bounds_beyond_what_is_looked_at_are_its_edge() -> None:
    low, high = confidence_sequence(np.full(500, 3.0))
    assert (low[-1], high[-1]) == (1.0, math.inf)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: e_process([math.inf]), DataError, "infinite result"),
        (lambda: e_process(1.0), DataError, "single number"),
        (lambda: standardised([1.0], [1.0], beta=0.0, sigma=0.0), ConfigError, "sigma 0.0"),
        (lambda: standardised([1.0], [1.0], beta=0.0, sigma=NAN), ConfigError, "sigma nan"),
        (lambda: history_evidence(NAN, 1, adaptive=False), DataError, "p-value nan"),
        (lambda: history_evidence(1.1, 1, adaptive=True), DataError, "p-value 1.1"),
        (lambda: history_evidence(0.1, 0, adaptive=False), ConfigError, "trials 0"),
        (lambda: weight([], per_year=0), ConfigError, "registrations per year 0"),
        (lambda: promotion_threshold(1.5, 0.2), ConfigError, "weight 1.5"),
        (lambda: promotion_threshold(NAN, 0.2), ConfigError, "weight nan"),
        (lambda: promotion_threshold(0.5, 2.0), ConfigError, "2.0 false promotions a year at weight 0.5"),
        (lambda: promotion_threshold(0.5, 0.0), ConfigError, "0.0 false promotions"),
        (lambda: e_bh([1.0, NAN], 0.1), DataError, "none missing"),
        (lambda: e_bh([1.0, -1.0], 0.1), DataError, ">= 0"),
        (lambda: e_bh([1.0], 1.0), ConfigError, "rate 1.0"),
        (lambda: alarm_threshold(0.0), ConfigError, "years between false alarms 0.0"),
        (lambda: confidence_sequence([1.0], level=1.0), ConfigError, "level 1.0"),
    ],
)
def test_what_makes_no_sense_is_refused(
    call: Callable[[], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        call()
