"""A feature that joins is under every check of the catalogue; the checks are those of tests/property."""

from __future__ import annotations

import pytest

from lockstep.features.feature_registry import FeatureRegistry, default_registry
from support.feature_checks import (
    check_batch_equals_streaming,
    check_blind_to_future,
    check_nan_rule,
    check_range,
    check_start_invariant,
)
from support.feature_histories import Recipe, Stretch, history_of
from support.toys.feature import close_to_middle

RECIPE = Recipe(seed=5, level=20_000, tick=0.25, stretches=(Stretch(60, 5, 0, 6, 5, 700.0),))


@pytest.fixture
def registry() -> FeatureRegistry:
    found = FeatureRegistry()
    found.register(close_to_middle)
    return found


def test_a_feature_that_joins_holds_to_every_rule(registry: FeatureRegistry) -> None:
    history, ids = history_of(RECIPE, 20), ("close_to_middle", "close_to_middle%7~2", "close_to_middle~1")
    check_batch_equals_streaming(registry, ids, history)
    check_blind_to_future(registry, ids, history, 50, 1)
    check_start_invariant(registry, ids, history, 3)
    for each in ids:
        check_range(registry, each, history)
        check_nan_rule(registry, each, history, positive=True)
    assert registry.list("toys") == ids[:1]


def test_joining_changes_no_other_feature(registry: FeatureRegistry) -> None:
    known = default_registry()
    assert all(registry.fingerprint(each) == known.fingerprint(each) for each in known.list("price_bar"))
