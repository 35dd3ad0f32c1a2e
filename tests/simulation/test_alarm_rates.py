"""How often ALARM and WATCH are false, how soon they are true; the whole is `benchmarks/soak.py alarms`.

A rate fails above the 99.9 % bound of the binomial law. Seeds are fixed.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks import alarms, detectors, ic
from benchmarks.alarm_worlds import rates, wins


def test_bounds_are_those_of_the_binomial_law() -> None:
    assert [alarms.allowed(count) for count in (100, 1_000)] == [13, 73]


def test_wins_have_the_rate_and_the_dependence_that_were_asked_for() -> None:
    x = wins(np.random.default_rng(1), 400, rates(500, 500), 0.2)
    assert x[:, :500].mean() == pytest.approx(0.62, abs=0.01)
    assert x[:, 510:].mean() == pytest.approx(0.52, abs=0.01)
    assert np.corrcoef(x[:, :499].ravel(), x[:, 1:500].ravel())[0, 1] == pytest.approx(0.2, abs=0.01)


def test_false_alarms_are_within_their_bound_with_a_known_floor() -> None:
    found, good = alarms.known_floor(100, 1)
    assert good, found
    assert len(found) == 9


def test_false_alarms_are_within_their_bound_as_shipped() -> None:
    found, good = alarms.estimated(25, 2)
    assert good, found


def test_a_fallen_win_rate_is_seen_as_soon_as_stated() -> None:
    found = alarms.falls(150, 3)
    for each in found.values():
        assert each["ALARM, floor known"] <= 170
        assert each["ALARM, floor of 400 trades"] <= 260
    for name in ("at once", "after a year"):
        assert found[name]["WATCH, estimate of 400 trades"] <= 120


def test_probabilities_that_become_too_high_are_seen_as_soon_as_stated() -> None:
    found = alarms.calibration_fall(400, 4)
    assert found["median delay, signals"] <= 380
    assert found["false a year, at the tolerance"] * 400 <= alarms.allowed(400)


def test_false_alarms_on_skewed_profits_are_within_their_bound() -> None:
    found = alarms.profits(100, 5)
    assert found["ALARM, first year"] * 100 <= alarms.allowed(100)
    assert found["ALARM, a year, over five"] * 100 <= alarms.allowed(100)
    assert found["median delay of ALARM, trades"] < 250


def test_forecasts_have_the_coefficient_and_the_dependence_that_were_asked_for() -> None:
    forecast, following = ic.pairs(np.random.default_rng(1), 50, np.full(4_000, 0.15), 0.1)
    found = [stats.spearmanr(f, r).statistic for f, r in zip(forecast, following, strict=True)]
    assert np.mean(found) == pytest.approx(0.15, abs=0.01)
    product = forecast * following
    assert np.corrcoef(product[:, :-1].ravel(), product[:, 1:].ravel())[0, 1] == pytest.approx(0.1, abs=0.015)


def test_false_alarms_on_information_coefficients_are_within_their_bound() -> None:
    found, good = ic.false_years(25, 6)
    assert good, found
    assert len(found) == 6


def test_a_fallen_information_coefficient_is_seen_and_one_that_stays_is_not() -> None:
    found = ic.falls(60, 7)
    assert ic.seen_and_silent(found, 60), found


def test_three_mistakes_break_their_rates() -> None:
    found, broken = alarms.controls(200, 2)
    assert broken, found


def test_the_usual_detectors_are_false_far_more_often_or_see_nothing() -> None:
    found, good = detectors.detectors(200, 1)
    assert good
    table = found["table"]
    rolling = table["rolling 50, 10 % lower"]["false a year"]
    assert rolling[60] < rolling[120] < rolling[250]
    assert rolling[250] > 0.75
    for name in ("ADWIN as shipped", "Page-Hinkley as shipped"):
        assert set(table[name]["median delay, trades"].values()) == {None}


def test_adwin_and_page_hinkley_find_what_is_large_enough() -> None:
    """They are silent on win rates because those fall too little, and not because they never speak."""
    x = np.concatenate((np.ones((3, 300)), np.zeros((3, 300))), axis=1)
    for each in (detectors.adwin(x), detectors.page_hinkley(x)):
        assert not each[:, :300].any()
        assert each[:, 300:].any(axis=1).all()
    assert not detectors.adwin(1.0 - x).any()
