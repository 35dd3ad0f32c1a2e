"""Corrections of p-values by hand and at their stated rates."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from research.statistics.multiple_testing import Method, adjusted

P_VALUES = [0.03, 0.005, 0.01, 0.5]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("bonferroni", [0.12, 0.02, 0.04, 1.0]),
        ("holm", [0.06, 0.02, 0.03, 0.5]),
        ("benjamini-hochberg", [0.04, 0.02, 0.02, 0.5]),
    ],
)
def test_by_hand(method: Method, expected: list[float]) -> None:
    np.testing.assert_allclose(adjusted(P_VALUES, method), expected)


@pytest.mark.no_cover
@pytest.mark.parametrize("method", ["bonferroni", "holm", "benjamini-hochberg"])
def test_unseen_tests_count_as_one(method: Method) -> None:
    padded = adjusted([*P_VALUES, *[1.0] * 96], method)[:4]
    np.testing.assert_array_equal(adjusted(P_VALUES, method, tests=100), padded)
    assert (padded > adjusted(P_VALUES, method)).any()


def test_holm_rejects_first_what_bonferroni_does() -> None:
    p_values = np.random.default_rng(1).random(20) / 20
    bonferroni, holm = adjusted(p_values, "bonferroni"), adjusted(p_values, "holm")
    assert holm.min() == bonferroni.min()
    assert (holm <= bonferroni).all()


# Holm is left out: its smallest value is Bonferroni's, and each call collects garbage for milliseconds.
@pytest.mark.parametrize("method", ["bonferroni", "benjamini-hochberg"])
def test_noise_gives_a_false_rejection_at_the_stated_rate(method: Method) -> None:
    random = np.random.default_rng(0)
    any_rejected = [adjusted(random.random(20), method).min() <= 0.05 for _ in range(1000)]
    assert 0.03 < np.mean(any_rejected) < 0.07
    uncorrected = [random.random(20).min() <= 0.05 for _ in range(1000)]
    assert np.mean(uncorrected) > 0.5


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="known are bonferroni, holm, benjamini-hochberg"):
        adjusted(P_VALUES, "sidak")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="tests 3: below the 4"):
        adjusted(P_VALUES, "holm", tests=3)
    with pytest.raises(DataError, match=r"must lie in \[0, 1\]"):
        adjusted([0.5, 1.5], "holm")
    with pytest.raises(DataError, match=r"p-values\[0\]: nan"):
        adjusted([np.nan], "holm")
