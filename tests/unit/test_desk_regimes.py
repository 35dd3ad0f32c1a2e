"""`lockstep.monitoring.regimes`: a filter that knows the past alone, hysteresis, trend, the rare regime."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import DataError
from lockstep.metrics import Floats
from lockstep.monitoring.regimes import (
    NAMES,
    UNKNOWN,
    RegimeReference,
    RegimeSettings,
    RegimeWatch,
    VolatilityFilter,
    regime_codes,
    regime_trigger,
)
from research.statistics.markov import fitted_filter

NAN = math.nan
FILTER = VolatilityFilter(mean=(0.0005, -0.001), deviation=(0.01, 0.03), stay=(0.98, 0.95))
SHORT = RegimeSettings(bars=20)
returns_lists = st.lists(st.floats(-0.2, 0.2) | st.just(NAN), min_size=1, max_size=60)


def two_states(sessions: int, seed: int = 1) -> tuple[Floats, Floats]:
    """Return drawn returns and whether each was of the turbulent state."""
    rng = np.random.default_rng(seed)
    wild = np.zeros(sessions)
    for place in range(1, sessions):
        stays = rng.random() < FILTER.stay[int(wild[place - 1])]
        wild[place] = wild[place - 1] if stays else 1.0 - wild[place - 1]
    states = wild.astype(int)
    noise = rng.standard_normal(sessions)
    return np.array(FILTER.mean)[states] + np.array(FILTER.deviation)[states] * noise, wild


@settings(max_examples=50, deadline=None)
@given(returns_lists, st.integers(1, 60))
def test_what_comes_later_changes_no_bit(returns: list[float], cut: int) -> None:
    before = returns[:cut]
    assert FILTER.probabilities(before).tobytes() == FILTER.probabilities(returns)[: len(before)].tobytes()
    brief = RegimeSettings(bars=5)
    codes = regime_codes(returns, FILTER, brief)[: len(before)]
    assert regime_codes(before, FILTER, brief).tobytes() == codes.tobytes()


def smoothed(returns: Floats) -> Floats:
    """The negative control: probabilities that know what came later (Kim's smoother)."""
    found = FILTER.probabilities(returns)
    enter, stay = 1.0 - FILTER.stay[0], FILTER.stay[1]
    for place in range(found.size - 2, -1, -1):
        now, later = found[place], found[place + 1]
        ahead = now * stay + (1.0 - now) * enter
        found[place] = now * (stay * later / ahead + (1.0 - stay) * (1.0 - later) / (1.0 - ahead))
    return found


def test_a_smoother_would_be_noticed() -> None:
    returns, _ = two_states(300)
    assert smoothed(returns[:200]).tobytes() != smoothed(returns)[:200].tobytes()


def test_the_filter_is_that_of_statsmodels() -> None:
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    returns, _ = two_states(800)
    (calm, wild), (first, second) = FILTER.stay, FILTER.deviation
    model = MarkovRegression(returns, k_regimes=2, trend="c", switching_variance=True)
    answers = model.filter(np.array([calm, 1.0 - wild, *FILTER.mean, first**2, second**2]))
    expected = answers.filtered_marginal_probabilities[:, 1]
    np.testing.assert_allclose(FILTER.probabilities(returns), expected, rtol=0, atol=1e-10)


def test_a_fit_finds_the_states_that_were_drawn() -> None:
    returns, wild = two_states(3_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = fitted_filter(returns)
    assert fitted.deviation == pytest.approx(FILTER.deviation, rel=0.15)
    assert fitted.stay == pytest.approx(FILTER.stay, abs=0.02)
    seen = fitted.probabilities(returns)
    assert seen[wild == 1.0].mean() > 0.75 > 0.2 > seen[wild == 0.0].mean()


def test_a_return_beyond_both_states_is_turbulent_and_stays_a_number() -> None:
    assert FILTER.probabilities([5.0, -5.0]).tolist() == [1.0, 1.0]
    assert FILTER.probabilities([1e308])[0] == 1.0


def test_a_missing_return_only_moves_towards_the_long_run() -> None:
    wild = FILTER.probabilities([0.1, NAN, NAN, NAN])
    assert 1.0 > wild[1] > wild[2] > wild[3] > FILTER.start


def test_hysteresis_changes_regimes_less_often_than_one_threshold() -> None:
    returns, _ = two_states(2_000)

    def switches(chosen: RegimeSettings) -> int:
        codes = regime_codes(returns, FILTER, chosen)
        return int((np.diff(codes[codes != UNKNOWN]) != 0).sum())

    once = RegimeSettings(bars=20, enter=0.5, leave=0.5, turn=0.0)
    assert switches(SHORT) < 0.6 * switches(once)


def test_regimes_by_hand() -> None:
    calm = [0.002, 0.001] * 10
    fall = [-0.09, -0.1, -0.08, 0.09]
    quiet = [-0.002, -0.001] * 30
    names = [
        NAMES[code] if code != UNKNOWN else "" for code in regime_codes(calm + fall + quiet, FILTER, SHORT)
    ]
    assert names[18:20] == ["", "calm, up"]
    assert names[20:24] == ["turbulent, down"] * 4
    assert names[-1] == "calm, down"


def test_no_change_at_all_keeps_a_trend_and_starts_none() -> None:
    assert set(regime_codes(np.zeros(50), FILTER, SHORT).tolist()) == {UNKNOWN, 0}


def followed(returns: Floats, reference: RegimeReference) -> list[str]:
    watch = RegimeWatch(reference.volatility, reference.settings)
    found = []
    for value in returns.tolist():
        watch.observe(value)
        found.append(regime_trigger(watch, reference))
    return found


def test_a_rare_regime_that_lasts_twenty_sessions_is_a_trigger() -> None:
    rng = np.random.default_rng(2)
    training = 0.0005 + 0.01 * rng.standard_normal(2_000)
    reference = RegimeReference.of(training, FILTER, SHORT)
    assert sum(reference.shares) == pytest.approx(1.0)
    assert reference.shares[2] < 0.05 < reference.shares[0]
    assert set(followed(0.01 * rng.standard_normal(500), reference)) == {""}
    crash = np.concatenate((training[-20:], -0.01 + 0.04 * rng.standard_normal(60)))
    told = followed(crash, reference)
    first = next(place for place, text in enumerate(told) if text)
    codes = regime_codes(crash, FILTER, SHORT)
    assert len(set(codes[first - 19 : first + 1].tolist())) == 1
    assert codes[first - 20] != codes[first]
    assert told[first].startswith("regime: turbulent, down for 20 sessions; it was ")
    assert told[first].endswith("below 5%; train a challenger that knows it")


def test_a_regime_that_training_knew_is_no_trigger() -> None:
    """The control: the same crash, with a reference that had seen one."""
    returns, _ = two_states(4_000)
    reference = RegimeReference.of(returns, FILTER, SHORT)
    assert min(reference.shares) > 0.05
    assert set(followed(-0.01 + 0.04 * np.random.default_rng(2).standard_normal(80), reference)) == {""}


def test_a_reference_has_a_hash_of_all_of_it() -> None:
    returns, _ = two_states(300)
    reference = RegimeReference.of(returns, FILTER, SHORT)
    again = RegimeReference.model_validate_json(reference.model_dump_json())
    assert again.digest == reference.digest
    assert reference.model_copy(update={"sessions": 7}).digest != reference.digest


def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(DataError, match="10 returns, a trend needs 20"):
        RegimeReference.of(np.zeros(10), FILTER, SHORT)
    with pytest.raises(DataError, match="return inf at 1"):
        FILTER.probabilities([0.0, math.inf])
    with pytest.raises(DataError, match="return -inf"):
        RegimeWatch(FILTER, SHORT).observe(-math.inf)
    with pytest.raises(DataError, match="one for each session"):
        regime_codes(np.zeros((2, 2)), FILTER, SHORT)
    with pytest.raises(DataError, match="99 returns; needs 100 that vary"):
        fitted_filter(np.arange(99.0))
    with pytest.raises(DataError, match="needs 100 that vary"):
        fitted_filter(np.zeros(200))
    for wrong in ({"deviation": (0.03, 0.01)}, {"stay": (1.0, 0.5)}, {"mean": (NAN, 0.0)}):
        with pytest.raises(ValueError, match="again"):
            VolatilityFilter.model_validate({**FILTER.model_dump(), **wrong})
    with pytest.raises(ValueError, match="swap them"):
        RegimeSettings(enter=0.2, leave=0.8)
