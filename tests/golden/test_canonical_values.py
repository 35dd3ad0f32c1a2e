"""Stored values of every feature on the canonical bars: a changed formula or constant fails here.

After a deliberate change, write them again and look at the difference:
`PYTHONPATH=tests python tests/golden/test_canonical_values.py > tests/golden/canonical_values.json`.
Source of the values: this project's own features, checked against TA-Lib beside this file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lockstep.features.canonical import canonical_values
from lockstep.features.feature import Feature, feature
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.features.inputs import Window
from lockstep.features.recursions import relative_strength, wilder_bars
from support.feature_checks import MODIFIED

STORED = Path(__file__).with_name("canonical_values.json")
ROWS = (0, 9, 30, 75, 100, 125, 150, 200, 215, 255)
REGISTRY = FeatureRegistry()
STORED_IDS = tuple(sorted((*REGISTRY.list(), *MODIFIED)))


def hexadecimal(registry: FeatureRegistry) -> dict[str, list[str]]:
    return {text: [float(canonical_values(text, registry)[row]).hex() for row in ROWS] for text in STORED_IDS}


def check(registry: FeatureRegistry, feature_id: str) -> None:
    """Values across processors and maths libraries agree to 1e-12."""
    stored = json.loads(STORED.read_text())["values"][feature_id]
    expected = np.array([float.fromhex(text) for text in stored])
    values = canonical_values(feature_id, registry)[list(ROWS)]
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-13, err_msg=feature_id)


@pytest.mark.parametrize("feature_id", STORED_IDS)
def test_values_are_the_stored_ones(feature_id: str) -> None:
    check(REGISTRY, feature_id)


def test_nothing_is_stored_that_no_longer_exists() -> None:
    assert tuple(sorted(json.loads(STORED.read_text())["values"])) == STORED_IDS


def test_stored_values_differ_between_features() -> None:
    """A stored file of zeros would prove nothing."""
    values = json.loads(STORED.read_text())["values"]
    varied = [text for text, row in values.items() if len(set(row)) > 2]
    assert len(varied) > 0.9 * len(values)


@feature(lookback=1, range=(0, 1), shift_invariant=True, scale_invariant=True)
def ibs(high: Window, low: Window, close: Window) -> float:
    """Internal bar strength with another neutral value."""
    return 0.4 if high[-1] == low[-1] else float((close[-1] - low[-1]) / (high[-1] - low[-1]))


@feature(lookback=lambda period: wilder_bars(period) + 1, examples=((2,), (5,), (14,)))
def rsi(close: Window, period: int) -> float:
    """RSI whose smoothing is off by one bar."""
    return relative_strength(close, period + 1)


def test_a_changed_constant_is_caught() -> None:
    for mutant, example in ((ibs, "ibs"), (rsi, "rsi_14")):
        with pytest.raises(AssertionError, match=example):
            check(with_mutant(mutant), example)


def with_mutant(mutant: Feature) -> FeatureRegistry:
    return FeatureRegistry(mutant if declared.name == mutant.name else declared for declared in REGISTRY)


if __name__ == "__main__":
    json.dump({"rows": ROWS, "values": hexadecimal(REGISTRY)}, sys.stdout, indent=1)
    sys.stdout.write("\n")
