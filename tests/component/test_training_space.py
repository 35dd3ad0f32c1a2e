"""Dimensions of a search: what they admit, and what a point stands for."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from research.training.estimators import Dimension


def test_none_lies_beyond_the_upper_bound() -> None:
    depth = Dimension(integer=(2, 12), or_none=True)
    assert depth.decoded(12) == 12
    assert depth.decoded(13) is None


def test_reals_have_four_digits() -> None:
    assert Dimension(real=(0.0001, 10.0), log=True).rounded(0.00123456) == 0.001235
    assert Dimension(real=(-1.0, 1.0)).rounded(0.0) == 0.0
    assert Dimension(real=(0.33333333, 1.0)).rounded(0.33333334) == 0.33333333


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "one of integer, real and choice"),
        ({"integer": (1, 2), "choice": (1,)}, "one of integer, real and choice"),
        ({"choice": ()}, "at least one value"),
        ({"choice": ("a", "a")}, "listed twice"),
        ({"integer": (2, 2)}, "must be < the second"),
        ({"real": (0.0, 1.0), "log": True}, "bounds above 0"),
        ({"choice": (1, 2), "log": True}, "bounds above 0"),
        ({"real": (0.1, 1.0), "or_none": True}, "goes with integer"),
    ],
)
def test_what_is_no_dimension_is_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Dimension.model_validate(content)
