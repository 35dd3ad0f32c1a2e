"""Combinations drawn at once are those made one by one: the same configurations, hashes and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.strategy.families.ibs import IBS, IbsConfig
from research.experiments.variants import (
    VariantSpace,
    config_hashes,
    draw,
    evaluation_id,
    evaluation_ids,
    named_combinations,
)

BASE = IbsConfig.model_validate(
    {
        "name": "base",
        "timeframe": "1h",
        "filters": [{"feature": "rsi_2", "max": 60.0}, {"feature": "zscore_20", "min": -2.0}],
        "stop": {"percent": 2.0},
    }
)

# Of every kind of path some values that go together, some that do not, some that are never right.
VALUES: dict[str, tuple[Any, ...]] = {
    "entry.low": (0.0, 0.15, 0.9),
    "entry.high": (0.1, 0.2, 0.6),
    "short_entry.low": (0.5, 0.8),
    "direction": ("long", "short", "both", "sideways"),
    "exit.low": (0.5, 0.7, 1.2),
    "short_exit": ((0.0, 0.3), (0.4, 0.1)),
    "max_bars": (None, 1, 5, 0),
    "stop.percent": (None, 1.0, -1.0),
    "target": (None, {"percent": 3.0}, {"atr": 2.0, "feature": "atr_5"}),
    "filters.0.max": (20, 40.0, None),
    "filters.1.feature": ("zscore_20", "rsi_14"),
    "window": (None, {"start": "10:00", "end": "15:00"}, {"start": "25:00", "end": "15:00"}),
    "auto_close": (None, "15:30"),
    "size": ({"kind": "fixed", "contracts": 2}, {"kind": "risk", "risk": 0.01, "feature": "atr_14"}),
    "capital": (100_000, 50_000.0),
    "execution": ("next_open", "close"),
    "max_age.bars": (1, 3),
    "features": ((), ("atr_14",)),
    "signal": ("ibs", "pctb_20_2"),
}
spaces = st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4, unique=True).map(
    lambda paths: VariantSpace(base=BASE, values={path: VALUES[path] for path in paths})
)


def assert_as_one_by_one(space: VariantSpace) -> None:
    numbers = list(range(space.size))
    drawn = draw(space, numbers)
    alone = [space.variant(number) for number in numbers]
    assert drawn.numbers.tolist() == numbers
    assert drawn.parameters.tolist() == [each.parameters for each in alone]
    assert dict(drawn.errors) == {
        number: each.error for number, each in enumerate(alone) if each.error is not None
    }
    expected = [each.config for each in alone if each.config is not None]
    assert drawn.rows.tolist() == [number for number, each in enumerate(alone) if each.config is not None]
    assert list(drawn.configs) == expected
    assert config_hashes(drawn.configs) == [config.config_hash for config in expected]


@settings(max_examples=60, deadline=None)
@given(space=spaces)
def test_every_space(space: VariantSpace) -> None:
    assert_as_one_by_one(space)


def test_fields_that_have_to_agree() -> None:
    assert_as_one_by_one(
        VariantSpace(
            base=BASE, values={path: VALUES[path] for path in ("direction", "entry.high", "short_entry.low")}
        )
    )
    daily = BASE.replaced(timeframe="1d")
    assert_as_one_by_one(
        VariantSpace(base=daily, values={path: VALUES[path] for path in ("window", "auto_close")})
    )


def test_every_rule_about_several_fields_is_known() -> None:
    """A rule that is not among them would let a combination pass that alone is refused."""
    rules = set(IbsConfig.__pydantic_decorators__.model_validators)
    assert rules == {"_sessions_need_intraday_bars", "_sides_are_apart"}
    related = IBS.related_fields
    assert {field for fields in related for field in fields} <= set(IbsConfig.model_fields)


def test_a_part_of_a_space_in_any_order() -> None:
    space = VariantSpace(base=BASE, values={path: VALUES[path] for path in ("entry.high", "max_bars")})
    numbers = [7, 0, 4, 3]
    drawn = draw(space, numbers)
    assert drawn.numbers.tolist() == numbers
    assert [drawn.configs[row] for row in range(2)] == [space.variant(number).config for number in (0, 4)]
    assert sorted(drawn.errors) == [0, 3]


def test_none_is_valid() -> None:
    drawn = draw(VariantSpace(base=BASE, values={"max_bars": (0, -1)}), [0, 1])
    assert (len(drawn.rows), len(drawn.configs), len(drawn.errors)) == (0, 0, 2)
    assert config_hashes(drawn.configs) == []


def test_names_of_evaluations() -> None:
    assert evaluation_ids("here", ["a", "b"]) == [evaluation_id("here", "a"), evaluation_id("here", "b")]


def test_very_many_combinations_of_values_keep_their_numbers() -> None:
    many = tuple(float(number) for number in range(1, 3_000))
    paths = ("capital", "max_bars", "stop.percent", "filters.0.max", "filters.1.min")
    values = {path: tuple(map(int, many)) if path == "max_bars" else many for path in paths}
    space = VariantSpace(base=BASE, values=values)
    numbers = np.random.default_rng(1).integers(0, 2**55, 200).tolist()
    drawn = draw(space, numbers)
    assert [drawn.configs[row] for row in range(200)] == [space.variant(number).config for number in numbers]


def test_combinations_are_named_once_for_all_symbols() -> None:
    values = {"entry.high": (0.1, 0.2, 0.3), "max_bars": (3, 5)}
    first = named_combinations(VariantSpace(base=BASE, values=values), [4, 1], BASE.config_hash)
    again = named_combinations(VariantSpace(base=BASE, values={**values}), (4, 1), BASE.config_hash)
    assert again is first
    other = BASE.replaced(capital=50_000.0)
    for base, changed, numbers in (
        (other, values, [4, 1]),
        (BASE, {**values, "max_bars": (3, 6)}, [4, 1]),
        (BASE, values, [4, 2]),
    ):
        space = VariantSpace(base=base, values=changed)
        found = named_combinations(space, numbers, base.config_hash)
        assert found.hashes.tolist() != first.hashes.tolist()
        assert found.drawn.parameters.tolist() == [space.variant(each).parameters for each in numbers]
        assert found.hashes.tolist() == config_hashes(found.drawn.configs)
