"""`lockstep.monitoring.decay`: coefficients, half-lives whose intervals hold the truth, who acts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks import decay as simulated
from lockstep.errors import ConfigError, DataError
from lockstep.monitoring.decay import (
    ALERT,
    NO_EDGE,
    NOT_ENOUGH,
    NOTHING,
    WARNING,
    DecaySettings,
    coefficients_over_time,
    decay,
    edge_p_value,
    error_covariance,
    half_life,
    information_coefficients,
)

NAN = math.nan


def test_coefficients_are_those_of_scipy_by_horizon_with_ties_and_gaps() -> None:
    rng = np.random.default_rng(1)
    signal, returns = rng.standard_normal(120).round(1), rng.standard_normal(120).round(1)
    signal[rng.random(120) < 0.3] = NAN
    returns[50] = NAN
    found = information_coefficients(signal, returns, 5)
    for horizon in range(1, 6):
        said, came = signal[:-horizon], returns[horizon:]
        known = ~np.isnan(said) & ~np.isnan(came)
        expected = stats.spearmanr(said[known], came[known]).statistic
        assert found[horizon - 1] == pytest.approx(expected, abs=1e-12)


def test_a_signal_that_does_not_vary_has_none() -> None:
    assert np.isnan(information_coefficients(np.ones(100), np.arange(100.0), 3)).all()
    assert math.isnan(edge_p_value(np.ones(100), np.arange(100.0)))
    assert decay(np.ones(100), np.arange(100.0)).verdict == NOT_ENOUGH


def test_coefficients_over_time_depend_on_nothing_later() -> None:
    signal, returns = simulated.fading_edge(8.0, 0.2, 1, sessions=400)
    ends, rows = coefficients_over_time(signal, returns)
    assert ends.tolist() == [252, 273, 294, 315, 336, 357, 378, 399]
    cut = ends[3] + 1
    early, before = coefficients_over_time(signal[:cut], returns[:cut])
    assert early[-1] == ends[3]
    assert before[-1].tobytes() == rows[3].tobytes()
    assert coefficients_over_time(signal[:100], returns[:100])[1].shape == (0, 20)


@pytest.mark.parametrize("true", [0.5, 3.0, 8.0, 40.0])
def test_a_half_life_without_noise_is_found(true: float) -> None:
    curve = 0.1 * 2.0 ** (-np.arange(20) / true)
    found, low, high = half_life(curve, np.eye(20) * 1e-8)
    assert found == pytest.approx(true, rel=0.02)
    assert low < true < high


def test_ends_of_the_grid_are_no_decay_and_gone_at_once() -> None:
    assert half_life(np.full(20, 0.1), np.eye(20) * 1e-6)[0] == math.inf
    assert half_life(np.array([0.1, *[0.0] * 19]), np.eye(20) * 1e-6)[0] == 0.0


def test_without_an_edge_nothing_is_known() -> None:
    assert half_life(np.full(20, 1e-9), np.eye(20) * 4e-3)[1:] == (0.0, math.inf)


def test_errors_are_correlated_as_the_signal_is() -> None:
    """By simulation: no edge, a signal that lasts; the control is errors taken as independent."""
    runs = [simulated.fading_edge(8.0, 0.0, [1, run]) for run in range(400)]
    found = np.array([information_coefficients(*run, 6) for run in runs])
    said = np.mean([error_covariance(run[0], 252 - np.arange(1, 7)) for run in runs], axis=0)
    measured = np.cov(found.T)
    assert np.abs(measured - said).max() < 0.15 * said[0, 0]
    assert np.abs(measured - np.diag(np.diag(said))).max() > 0.6 * said[0, 0]


def test_a_year_says_little_about_a_half_life_and_the_interval_says_so() -> None:
    """8 sessions, an edge of .2; the control is to act on the estimate. More: `make soak ARGS=decay`."""
    found = simulated.fits(8.0, 0.2, 150, 1)
    low, high = found["estimates, 5 to 95 %"]
    assert low < 4.0 < 16.0 < high
    assert found["interval holds the truth"] >= 1.0 - simulated.bound(found["fitted"]) / found["fitted"]
    assert found[ALERT] <= simulated.bound(150, 0.025) / 150 < 0.3 < found["alert by the estimate alone"]


def test_a_decay_that_is_fast_is_found() -> None:
    found = simulated.fits(2.0, 0.3, 60, 2)
    assert found[ALERT] > 0.3


def test_without_an_edge_few_years_are_fitted_at_all() -> None:
    found = simulated.fits(8.0, 0.0, 150, 3)
    assert found["fitted"] <= simulated.bound(150)
    assert found[ALERT] == 0.0


def judged(true: float, edge: float, seed: int, sessions: int = 252) -> tuple[str, str, str]:
    settings = DecaySettings(window=sessions)
    found = decay(*simulated.fading_edge(true, edge, seed, sessions=sessions), settings)
    return found.verdict, found.sentence, found.recommendation("ibs")


def test_each_verdict_is_a_sentence_and_only_a_short_life_recommends_rotation() -> None:
    verdict, sentence, advice = judged(2.0, 0.3, 1, 2_000)
    assert (verdict, sentence[:20]) == (ALERT, "decay, alert: half-l")
    assert advice.startswith("Rotate ibs: half-life ")
    assert "it counts in the ledger" in advice
    verdict, sentence, advice = judged(9.0, 0.3, 1, 8_000)
    assert (verdict, "all below 15" in sentence, bool(advice)) == (WARNING, True, True)
    verdict, sentence, advice = judged(60.0, 0.3, 1, 2_000)
    assert (verdict, "do nothing yet" in sentence, advice) == (NOTHING, False, "")
    verdict, sentence, advice = judged(8.0, 0.0, 1)
    assert (verdict, "no measurable edge" in sentence, advice) == (NO_EDGE, True, "")


def test_an_estimate_below_a_key_alone_does_nothing() -> None:
    signal, returns = simulated.fading_edge(8.0, 0.2, [1, 1])
    found = decay(signal, returns)
    assert found.half_life < 15.0 < found.high
    assert found.verdict == NOTHING
    assert "the estimate is below a key, its interval is not, so do nothing yet" in found.sentence


def test_59_observations_are_not_enough_and_60_are() -> None:
    signal, returns = simulated.fading_edge(2.0, 0.3, 4)
    for kept, verdict in ((60, NOT_ENOUGH), (61, None)):
        found = decay(np.concatenate((np.full(252 - kept, NAN), signal[-kept:])), returns)
        assert found.observations == kept - 1
        assert (found.verdict == NOT_ENOUGH) is (verdict == NOT_ENOUGH)


def test_only_the_window_counts() -> None:
    signal, returns = simulated.fading_edge(2.0, 0.3, 4, sessions=500)
    assert decay(signal, returns) == decay(signal[-252:], returns[-252:])


def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(DataError, match=r"signal \(2,\), returns \(3,\)"):
        decay([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="is infinite"):
        decay([1.0, math.inf], [1.0, 2.0])
    with pytest.raises(ConfigError, match="horizons 0"):
        information_coefficients([1.0], [1.0], 0)
    with pytest.raises(ConfigError, match="every 0"):
        coefficients_over_time([1.0], [1.0], every=0)
    with pytest.raises(ValueError, match="alert_below 20 is above warning_below 15"):
        DecaySettings(alert_below=20.0)
    assert decay([], []).verdict == NOT_ENOUGH
    assert decay([NAN] * 300, [0.0] * 300).verdict == NOT_ENOUGH
