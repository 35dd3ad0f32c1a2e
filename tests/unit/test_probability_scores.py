"""Scores of probabilities: by hand, one class, 0 and 1, missing ones; reliability by bins of fifty."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from lockstep.monitoring.calibration import LEAST_IN_BIN, probability_scores, reliability


def test_scores_are_those_worked_out_by_hand() -> None:
    chance, won = np.array([0.2, 0.4, 0.6, 0.9]), np.array([0, 1, 0, 1])
    found = probability_scores(chance, won, reference_hit_rate=0.6)
    assert found.brier == pytest.approx(((chance - won) ** 2).mean())
    assert found.log_loss == pytest.approx(-np.log([0.8, 0.4, 0.4, 0.9]).mean())
    assert found.auc == 0.75
    assert (found.hit_rate, found.reference_hit_rate, found.signals, found.wins) == (0.5, 0.6, 4, 2)


@pytest.mark.parametrize("outcome", [0, 1])
def test_one_class_has_no_auc_and_all_the_rest(outcome: int) -> None:
    found = probability_scores([0.3, 0.8], [outcome, outcome])
    assert math.isnan(found.auc)
    assert found.hit_rate == outcome
    assert math.isfinite(found.log_loss)
    assert found.brier == pytest.approx(((np.array([0.3, 0.8]) - outcome) ** 2).mean())


def test_certainty_is_scored_and_finite_where_it_is_wrong() -> None:
    right, wrong = probability_scores([0.0, 1.0], [0, 1]), probability_scores([0.0, 1.0], [1, 0])
    assert (right.brier, wrong.brier) == (0.0, 1.0)
    assert right.log_loss < 1e-12
    assert 30 < wrong.log_loss < 800


@pytest.mark.parametrize(
    ("chance", "won", "words"),
    [
        ([0.5, math.nan], [0, 1], "probability 1 of 2: nan"),
        ([-0.1], [0], "must lie in"),
        ([0.5], [math.nan], "outcome 0 of 1: nan"),
        ([0.5], [0.5], "must be 0 or 1"),
        ([0.5, 0.5], [1], "2 probabilities of 1 outcomes"),
        ([], [], "at least one"),
        ([[0.5]], [[1]], "2 dimensions"),
    ],
)
def test_what_cannot_be_scored_is_refused(chance: list[float], won: list[float], words: str) -> None:
    with pytest.raises(DataError, match=words):
        probability_scores(chance, won)
    with pytest.raises(DataError, match=words):
        reliability(chance, won, seed=1)


@pytest.mark.parametrize("size", [50, 99, 100, 149, 730, 5_000])
def test_bins_hold_fifty_and_every_signal_once(size: int) -> None:
    rng = np.random.default_rng(size)
    chance = rng.random(size).round(2)
    won = (rng.random(size) < chance).astype(int)
    found = reliability(chance, won, seed=1)
    assert found.count.sum() == size
    assert found.count.min() >= LEAST_IN_BIN
    assert found.count.size <= 10
    assert (np.diff(found.predicted) > 0).all()
    assert found.count @ found.observed == pytest.approx(won.sum())
    assert (found.low <= found.observed).all()
    assert (found.observed <= found.high).all()


def test_fewer_than_fifty_give_no_bin_and_equal_chances_share_one() -> None:
    assert reliability([0.5] * 49, [1] * 49, seed=1).count.size == 0
    assert reliability([0.5] * 1_000, [0, 1] * 500, seed=1).count.tolist() == [1_000]
    split = reliability([0.5] * 990 + [0.7] * 10, [0, 1] * 500, seed=1)
    assert split.count.tolist() == [1_000]


def test_intervals_are_repeated_by_the_seed_and_hold_the_truth() -> None:
    rng = np.random.default_rng(2)
    held = []
    for each in range(60):
        chance = np.repeat([0.3, 0.6], 150)
        rng.shuffle(chance)
        won = (rng.random(300) < chance).astype(int)
        found = reliability(chance, won, seed=each)
        held.append((found.low <= found.predicted) & (found.predicted <= found.high))
    again = reliability(chance, won, seed=each)
    assert again.low.tolist() == found.low.tolist()
    assert 0.86 <= np.mean(held) <= 1.0


def test_overconfidence_is_outside_its_interval() -> None:
    rng = np.random.default_rng(3)
    won = (rng.random(600) < 0.5).astype(int)
    found = reliability(np.full(600, 0.65), won, seed=1)
    assert found.high[0] < 0.65


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="level 1"):
        reliability([0.5] * 60, [1, 0] * 30, seed=1, level=1.0)
    with pytest.raises(ConfigError, match="0 bins"):
        reliability([0.5] * 60, [1, 0] * 30, seed=1, bins=0)
