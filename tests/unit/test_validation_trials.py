"""The effective number of trials on planted clusters, on noise, and against simulated maxima."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats
from research.statistics import trial_clusters
from research.statistics.sharpe import SharpeSample, deflated_sharpe, expected_maximum
from research.statistics.trials import effective_trials, effective_trials_of_returns, projection


def families(count: int, each: int, correlation: float, *, periods: int = 1500, seed: int = 0) -> Floats:
    """Returns (periods, count x each) of families whose members correlate, one after the other."""
    random = np.random.default_rng(seed)
    common = np.repeat(random.normal(size=(periods, count)), each, axis=1)
    own = random.normal(size=(periods, count * each))
    return math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own


@pytest.mark.parametrize("sketched", [False, True])
@pytest.mark.parametrize("correlation", [0.75, 0.9, 0.98])
def test_planted_clusters_are_found(correlation: float, sketched: bool) -> None:
    returns = families(12, 15, correlation)
    found = (
        effective_trials(returns.T @ projection(1500)) if sketched else effective_trials_of_returns(returns)
    )
    assert found.clusters == 12
    members = found.labels.reshape(12, 15)
    assert (members == members[:, :1]).all()
    assert found.silhouette > 0.4


@pytest.mark.parametrize("size", [30, 300])
def test_independent_noise_counts_in_full(size: int) -> None:
    random = np.random.default_rng(1)
    exact = effective_trials_of_returns(random.normal(size=(1000, size)))
    assert exact.clusters == size == exact.number
    assert exact.silhouette == 0.0
    assert exact.implied == pytest.approx(size, rel=0.1)
    sketched = effective_trials(random.normal(size=(size, 64)))
    assert 0.97 * size <= sketched.number <= size


def test_one_family_is_one_cluster_but_more_than_one_trial() -> None:
    found = effective_trials_of_returns(families(1, 100, 0.9))
    assert found.clusters == 1
    assert math.isnan(found.silhouette)
    assert 2.0 < found.number < 4.0


def test_copies_beside_independent_trials_do_not_hide_them() -> None:
    """The participation ratio of eigenvalues would see four trials here."""
    random = np.random.default_rng(2)
    vectors = np.vstack(
        (np.repeat(random.normal(size=(1, 800)), 100, axis=0), random.normal(size=(100, 800)))
    )
    assert effective_trials(vectors).clusters == 101


@pytest.mark.parametrize(("count", "each", "correlation"), [(1, 60, 0.9), (6, 10, 0.9), (20, 5, 0.6)])
def test_the_implied_number_gives_the_maximum_that_such_trials_have(
    count: int, each: int, correlation: float
) -> None:
    found = effective_trials_of_returns(families(count, each, correlation, periods=4000))
    best = families(count, each, correlation, periods=40_000, seed=9).max(axis=1)
    assert expected_maximum(found.implied) == pytest.approx(best.mean(), abs=0.06)
    # Clusters alone would deflate by too little.
    assert expected_maximum(found.clusters) < best.mean() - 0.2


def test_trials_that_never_traded_are_one_trial() -> None:
    random = np.random.default_rng(3)
    vectors = np.vstack((np.zeros((40, 500)), random.normal(size=(5, 500))))
    found = effective_trials(vectors)
    assert found.clusters == 6
    assert len(set(found.labels[:40].tolist())) == 1
    assert effective_trials(np.zeros((4, 8))).number == 1.0


def test_one_trial_is_one() -> None:
    found = effective_trials([[0.1, -0.2, 0.3]])
    assert (found.clusters, found.implied, found.number) == (1, 1.0, 1.0)
    assert found.labels.tolist() == [0]


def test_sign_and_scale_of_a_sketch() -> None:
    random = np.random.default_rng(4)
    one = random.normal(size=200)
    assert effective_trials([one, 5 * one]).clusters == 1
    assert effective_trials([one, -one]).clusters == 2


def test_more_trials_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = families(12, 15, 0.9)
    whole = effective_trials_of_returns(returns)
    monkeypatch.setattr(trial_clusters, "BATCH", 25)
    parts = effective_trials_of_returns(returns)
    assert parts.clusters == whole.clusters == 12
    pairs = set(zip(whole.labels.tolist(), parts.labels.tolist(), strict=True))
    assert len(pairs) == 12


def test_a_sketch_estimates_correlation_with_the_stated_error() -> None:
    returns = families(1, 200, 0.5, periods=2000)
    sketches = returns.T @ projection(2000)
    sketches /= np.linalg.norm(sketches, axis=1, keepdims=True)
    found = (sketches @ sketches.T)[np.triu_indices(200, 1)]
    true = np.corrcoef(returns.T)[np.triu_indices(200, 1)]
    # The pairs share one family, so they share much of the error too: it is measured over seeds.
    errors = [
        (lambda a: a[0] @ a[1] / np.linalg.norm(a[0]) / np.linalg.norm(a[1]))(
            returns.T[:2] @ projection(2000, seed=seed)
        )
        - true[0]
        for seed in range(400)
    ]
    assert np.std(errors) == pytest.approx((1 - true[0] ** 2) / 8, rel=0.15)
    assert abs(found.mean() - true.mean()) < 0.25


def test_every_cluster_weighs_the_same_in_the_variance() -> None:
    found = effective_trials_of_returns(families(4, 10, 0.95))
    means = np.array([0.0, 0.1, 0.2, 0.3])
    ratios = means[np.repeat(np.arange(4), 10)]
    assert found.variance(ratios) == pytest.approx(means.var(ddof=1))
    crowd = effective_trials_of_returns(np.hstack((families(1, 200, 0.99), families(3, 1, 0.0, seed=5))))
    spread = np.concatenate((np.zeros(200), [0.1, 0.2, 0.3]))
    assert crowd.variance(spread) == pytest.approx(means.var(ddof=1))
    assert spread.var(ddof=1) < 0.1 * crowd.variance(spread)
    assert math.isnan(found.variance(np.where(np.arange(40) == 3, math.nan, ratios)))


def test_deflation_uses_number_variance_and_earlier_trials() -> None:
    found = effective_trials_of_returns(families(10, 1, 0.0))
    ratios = np.linspace(-0.1, 0.1, 10)
    winner = SharpeSample(ratio=0.1, periods=1500)
    expected = deflated_sharpe(winner, trials=found.number, variance=found.variance(ratios))
    assert found.deflated(winner, ratios) == expected
    assert found.deflated(winner, ratios, earlier=90.0) < expected
    floor = deflated_sharpe(winner, trials=found.number, variance=1 / 1499)
    assert found.deflated(winner, np.full(10, 0.1)) == floor


def test_wrong_arguments_are_refused() -> None:
    found = effective_trials_of_returns(families(2, 2, 0.9))
    with pytest.raises(DataError, match="3 Sharpe ratios, 4 trials"):
        found.variance([0.1, 0.2, 0.3])
    with pytest.raises(ConfigError, match="earlier trials -1"):
        found.deflated(SharpeSample(ratio=0.1, periods=10), np.zeros(4), earlier=-1)
    with pytest.raises(ConfigError, match=r"least correlation 1\.0"):
        effective_trials(np.eye(3), least=1.0)
    with pytest.raises(DataError, match=r"sketches\[0, 1\]: nan"):
        effective_trials([[0.0, math.nan]])
