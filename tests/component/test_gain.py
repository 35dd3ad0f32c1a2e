"""What is measured of answers, without a model: ranking, calibration and skill, against their oracles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import brier_score_loss, roc_auc_score

from lockstep.errors import DataError
from lockstep.metrics import Floats, Integers
from research.training.gain import ranking
from research.training.probabilities import brier_skill, spiegelhalter

# The bound that a rate of 5 % exceeds in one of a thousand runs.
_OF_400 = 34


def drawn(seed: int, size: int = 200, skill: float = 0.0) -> tuple[Floats, Integers]:
    random = np.random.default_rng(seed)
    target = random.integers(0, 2, size)
    return np.round(0.5 + 0.1 * (random.normal(size=size) + skill * target), 2), target.astype(np.int64)


@pytest.mark.parametrize("seed", range(5))
def test_one_window_is_ranked_as_its_oracles_rank_it(seed: int) -> None:
    chance, target = drawn(seed, skill=0.3)
    found = ranking(chance, target, np.zeros(target.size, np.int64))
    oracle = mannwhitneyu(
        chance[target == 1],
        chance[target == 0],
        alternative="greater",
        use_continuity=False,
        method="asymptotic",
    )
    assert found.area == pytest.approx(roc_auc_score(target, chance))
    assert found.p_value == pytest.approx(oracle.pvalue, rel=1e-9)


def test_windows_are_not_ranked_against_each_other() -> None:
    """Two windows without skill, one with high chances and many winners: together they would look skilled."""
    (low, few), (high, many) = drawn(8), drawn(9)
    few, many = (few * (np.arange(few.size) % 3 == 0)), np.maximum(many, (np.arange(many.size) % 3 > 0))
    chance, target = np.concatenate((low, high + 0.4)), np.concatenate((few, many)).astype(np.int64)
    together = ranking(chance, target, np.zeros(chance.size, np.int64))
    apart = ranking(chance, target, np.repeat([0, 1], low.size))
    assert together.p_value < 1e-6
    assert apart.p_value > 0.05
    pairs = [each.sum() * (each.size - each.sum()) for each in (few, many)]
    areas = [roc_auc_score(few, low), roc_auc_score(many, high)]
    assert apart.area == pytest.approx(np.average(areas, weights=pairs))


def test_a_ranking_without_skill_has_uniform_p_values() -> None:
    strata = np.repeat([0, 1, 2, 3], 50)
    rejected = sum(ranking(*drawn(seed), strata).p_value <= 0.05 for seed in range(400))
    assert 5 < rejected <= _OF_400


def test_what_cannot_be_ranked_is_nan_and_what_is_all_equal_is_chance() -> None:
    alone = ranking(np.linspace(0, 1, 10), np.ones(10, np.int64), np.zeros(10, np.int64))
    assert math.isnan(alone.area)
    assert math.isnan(alone.p_value)
    equal = ranking(np.full(10, 0.4), np.arange(10) % 2, np.zeros(10, np.int64))
    assert (equal.area, equal.p_value) == (0.5, 0.5)


def test_spiegelhalters_z_is_standard_normal_where_chances_are_true() -> None:
    random = np.random.default_rng(3)
    chance = random.uniform(0.2, 0.8, (400, 150))
    won = (random.uniform(size=chance.shape) < chance).astype(np.int64)
    z = np.array([spiegelhalter(*each) for each in zip(chance, won, strict=True)])
    assert abs(z.mean()) < 3.0 / math.sqrt(400)
    assert z.std() == pytest.approx(1.0, abs=0.12)
    assert (np.abs(z) > 1.959964).sum() <= _OF_400


def test_spiegelhalters_z_says_which_way_chances_err() -> None:
    random = np.random.default_rng(4)
    true = random.uniform(0.3, 0.7, 2_000)
    won = (random.uniform(size=true.size) < true).astype(np.int64)
    assert spiegelhalter(0.5 + 2.0 * (true - 0.5), won) > 3.0
    assert spiegelhalter(0.5 + 0.3 * (true - 0.5), won) < -3.0
    assert math.isnan(spiegelhalter(np.array([0.0, 1.0, 0.5]), np.array([0, 1, 1])))
    # By hand: (1 - .8)(-.6) + (0 - .3)(.4) over the root of .36 x .16 + .16 x .21.
    by_hand = (0.2 * -0.6 - 0.3 * 0.4) / math.sqrt(0.36 * 0.16 + 0.16 * 0.21)
    assert spiegelhalter(np.array([0.8, 0.3]), np.array([1, 0])) == pytest.approx(by_hand)


def test_skill_is_measured_against_what_was_known_without_a_model() -> None:
    chance, won = drawn(5, skill=1.0)
    base = np.full(won.size, 0.45)
    expected = 1.0 - brier_score_loss(won, chance) / brier_score_loss(won, base)
    assert brier_skill(chance, won, base) == pytest.approx(expected)
    assert brier_skill(base, won, base) == 0.0
    assert brier_skill(1.0 - chance, won, base) < 0.0
    assert math.isnan(brier_skill(chance, np.ones_like(won), np.ones(won.size)))
    with pytest.raises(DataError, match="3 probabilities, 2 labels"):
        brier_skill(chance[:3], won[:2], base[:3])
