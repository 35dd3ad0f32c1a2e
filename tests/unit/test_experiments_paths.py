"""Paths into a spec: as deep as its conditions go, and no further."""

from __future__ import annotations

from typing import Any

import pytest

from lockstep.errors import ExperimentError
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.family import strategy_of
from research.experiments.paths import known_paths, placed, require_known, value_at

LOW, MONTH = {"id": "rsi_2", "below": 10}, {"not": {"id": "month", "between": [5, 9]}}
CONTENT: dict[str, Any] = {
    "family": "rules",
    "name": "x",
    "long_entry": {"all": [LOW, MONTH]},
    "long_exit": {"id": "score", "above": 0.4},
    "score": [{"id": "ibs", "weight": 1}, {"id": "ret_1", "weight": -2}],
}
WEAK = {"id": "ibs", "below": 0.2}
SPEC = strategy_of(CONTENT, where="x")


def varied(path: str, value: Any) -> StrategyConfig:
    content = placed(SPEC.model_dump(), {path: value})
    return strategy_of(content, where="x")


@pytest.mark.parametrize(
    ("path", "value", "changed"),
    [
        ("long_entry.all.0.below", 5.0, {"all": [{**LOW, "below": 5}, MONTH]}),
        ("long_entry.all.0.id", "rsi_3", {"all": [{**LOW, "id": "rsi_3"}, MONTH]}),
        (
            "long_entry.all.1.not.between.high",
            8,
            {"all": [LOW, {"not": {"id": "month", "between": [5, 8]}}]},
        ),
        ("long_entry.all.1", WEAK, {"all": [LOW, WEAK]}),
        ("long_entry", WEAK, WEAK),
        ("long_exit.above", 0.5, {"id": "score", "above": 0.5}),
        ("score.1.weight", -1.5, [{"id": "ibs", "weight": 1}, {"id": "ret_1", "weight": -1.5}]),
    ],
)  # fmt: skip
def test_a_path_leads_into_conditions_and_the_score(path: str, value: Any, changed: Any) -> None:
    assert path in known_paths(SPEC)
    field = path.partition(".")[0]
    assert varied(path, value) == strategy_of({**CONTENT, field: changed}, where="x")
    assert value_at(varied(path, value).model_dump(), path) == value
    assert SPEC == strategy_of(CONTENT, where="x")


@pytest.mark.parametrize(
    "path",
    ["long_entry.below", "long_entry.all.2.below", "long_entry.all.0.above", "long_entry.any",
     "score.2.weight", "short_entry.below"],
)  # fmt: skip
def test_a_path_that_the_base_has_not_is_refused(path: str) -> None:
    with pytest.raises(ExperimentError, match=r"grid: unknown parameter path .*; did you mean"):
        require_known({path: (1, 2)}, SPEC, where="grid")


def test_the_first_family_has_the_paths_that_it_had() -> None:
    base = IbsConfig.model_validate({"name": "x", "filters": [{"feature": "rsi_2", "max": 1}]})
    found = known_paths(base)
    assert {"entry.high", "stop.percent", "filters.0.max", "max_bars", "size.risk"} <= set(found)
    assert not {"filters.1.max", "name", "family", "timeframe"} & set(found)
