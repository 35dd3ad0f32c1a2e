"""Training files: what is read, and what is refused with one clear line."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from pydantic import BaseModel

from lockstep.errors import ConfigError
from lockstep.settings import shown, validated
from research.training.acceptance import Acceptance, StrategyAcceptance
from research.training.config import (
    DataRange,
    StrategyRelease,
    TrainingConfig,
    load_training,
)
from support.training import ROOT, config

CONTENT: dict[str, Any] = {
    "symbol": "SPX",
    "strategy": {"name": "x"},
    "features": {"ids": ["ibs"]},
}


def written(folder: Path, name: str = "SPX", **changes: Any) -> Path:
    path = folder / f"{name}.yml"
    path.write_text(yaml.safe_dump({**CONTENT, **changes}))
    return path


@pytest.mark.parametrize("symbol", ["ES", "NQ", "SPX", "COMP", "GC", "CL", "SPY"])
def test_the_shipped_files_are_valid(symbol: str) -> None:
    assert load_training(ROOT / f"configs/training/{symbol}.yml").symbol == symbol


def test_a_strategy_may_be_a_path_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: from_file\nentry: [0.0, 0.1]\n")
    assert load_training(written(tmp_path, strategy="s.yaml")).strategy.entry == (0.0, 0.1)


def test_another_strategy_may_be_trained_for(tmp_path: Path) -> None:
    found = tmp_path / "best.yaml"
    found.write_text("name: best\nentry: [0.0, 0.12]\n")
    known = load_training(ROOT / "configs/training/ES.yml")
    other = load_training(ROOT / "configs/training/ES.yml", strategy=found)
    assert other.strategy.entry == (0.0, 0.12)
    assert other.replaced(strategy=known.strategy.model_dump()) == known


def test_a_record_reads_back(tmp_path: Path) -> None:
    known = load_training(ROOT / "configs/training/ES.yml")
    assert TrainingConfig.model_validate(known.model_dump(mode="json")) == known


FIRST_LIMITS = {
    "min_trades": 50, "min_sharpe": 0.3, "min_profit_factor": 1.1, "max_drawdown": 0.25,
    "min_sharpe_ratio": 0.7, "min_dsr": 0.9, "max_pbo": 0.5, "min_hold_out_sharpe": 0.0,
    "max_importance_share": 0.4, "max_shuffled_auc": 0.6, "min_probability_spread": 0.02,
    "max_share_shift": 0.25, "max_calibration_error": 0.1, "min_challenger_edge": -0.1,
}  # fmt: skip


def test_a_record_of_the_first_version_reads_with_the_limits_of_today() -> None:
    """What is judged today gets its default; what was set and is still a limit is kept."""
    record = {
        **load_training(ROOT / "configs/training/ES.yml").model_dump(mode="json"),
        "acceptance": FIRST_LIMITS,
    }
    found = TrainingConfig.recorded(record, where="training record").acceptance
    assert found == Acceptance(min_dsr=0.9)
    released = {**CONTENT, "acceptance": {"min_challenger_edge": -0.2, "min_sharpe": 0.5}}
    del released["features"]
    assert StrategyRelease.recorded(released, where="x").acceptance == StrategyAcceptance(min_sharpe=0.5)
    with pytest.raises(ConfigError, match="min_shrape"):
        TrainingConfig.recorded({**record, "acceptance": {"min_shrape": 1.0}}, where="training record")


@pytest.mark.parametrize("name", sorted(FIRST_LIMITS.keys() - Acceptance.model_fields.keys()))
def test_a_file_with_a_limit_that_is_gone_is_told_what_took_its_place(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: is no limit any more; use [a-z_]*[a-z]") as told:
        load_training(written(tmp_path, acceptance={name: 0.5}))
    assert "\n" not in str(told.value)


def test_trials_replace_those_of_the_file() -> None:
    changed = config(search={"trials": 9, "window_trials": 4}).with_trials(2)
    assert (changed.search.trials, changed.search.window_trials) == (2, None)
    assert config().with_trials(None) == config()


def test_the_hash_is_of_values_not_of_names() -> None:
    renamed = config(strategy={**config().strategy.model_dump(), "name": "other"})
    assert renamed.config_hash == config().config_hash
    assert config(sample_weight="uniform").config_hash != config().config_hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modell": {}}, "unknown key 'modell'; did you mean 'model'?"),
        ({"search": {"trails": 3}}, "unknown key 'search.trails'; did you mean 'trials'?"),
        ({"features": {}}, "no feature"),
        (
            {"model": {"space": {"depth": {"integer": [1, 2]}}}},
            "unknown key 'depth'; did you mean 'max_depth'?",
        ),
        ({"hold_out": {}}, "either share or start"),
        ({"hold_out": {"share": 0.2, "start": "2016-01-01"}}, "either share or start"),
        ({"data": {"start": "2016-01-01", "end": "2015-01-01"}}, "start must be before end"),
        ({"validation": {"groups": 3, "test_groups": 3}}, "must be below the 3 groups"),
        ({"validation": {"walk_forward": "long"}}, "need train/test/step"),
        ({"validation": {"walk_forward": "100b/20b/20b"}}, "calendar spans"),
        ({"threshold": {"low": 0.7, "high": 0.6}}, "must be below high"),
        ({"strategy": {"name": "x", "execution": "close"}}, "cannot be traded"),
        ({"allow_shift_sensitive": "yes"}, "at least 10 characters"),
        ({"symbol": "SPXX"}, "did you mean 'SPX'?"),
        (
            {"data": {"start": "2016-01-01"}, "hold_out": {"start": "2015-01-01"}},
            "overlaps all of the training",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_training(written(tmp_path, **changes))
    assert message in str(refused.value)
    assert "SPX.yml" in str(refused.value)


def test_a_file_of_another_symbol_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the file is named for ES"):
        load_training(written(tmp_path, "ES"))
    assert load_training(written(tmp_path, "first_try")).symbol == "SPX"


def test_the_grid_begins_with_accepting_all() -> None:
    grid = config(threshold={"low": 0.4, "high": 0.5, "step": 0.05}).threshold.grid
    assert grid.tolist() == [0.0, 0.4, 0.45, 0.5]


PYTHON = re.compile(
    r"datetime\.|DateRange|IbsConfig|\{'|\('|<class|np\.|\bNone\b|\bTrue\b|\bFalse\b|tuple|dictionary"
    r"|instance of|Traceback|\n"
)
WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 1e9, 0.5, float("nan"), "x", "", [], [1], [3, 1], [[1], {}], {}, {"x": 1},
    {"x": {"y": []}}, date(2015, 1, 1), datetime(2015, 1, 1, 12), [date(2015, 1, 1)],
    {"start": date(2015, 1, 1)},
)  # fmt: skip


def keys(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every key that a training file may hold."""
    for name, info in model.model_fields.items():
        yield (*path, name)
        nested = [each for each in (info.annotation, *get_args(info.annotation)) if isinstance(each, type)]
        for each in nested:
            if issubclass(each, BaseModel):
                yield from keys(each, (*path, name))


def changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return a valid file with another value at a path."""
    content: dict[str, Any] = copy.deepcopy(CONTENT)
    place = content
    for name in path[:-1]:
        place = place.setdefault(name, {})
    place[path[-1]] = value
    return content


def refusal(content: dict[str, Any]) -> str:
    """Return why a file is refused, or nothing."""
    try:
        validated(TrainingConfig, content, where="SPX.yml")
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("path", list(keys(TrainingConfig)), ids=".".join)
def test_no_refusal_speaks_python(path: tuple[str, ...]) -> None:
    refusals = [found for value in WRONG if (found := refusal(changed(path, value)))]
    assert len(refusals) >= 3
    for found in refusals:
        assert not PYTHON.search(found), found
        assert found.startswith("SPX.yml: ")


def test_a_rule_about_several_entries_names_them_with_iso_dates() -> None:
    content = changed(("data",), {"start": date(2016, 1, 4), "end": date(2015, 1, 5)})
    with pytest.raises(ConfigError) as refused:
        validated(TrainingConfig, content, where="SPX.yml")
    assert str(refused.value) == "SPX.yml: data: 2016-01-04 to 2015-01-05: start must be before end"


def test_values_are_shown_as_yaml_writes_them() -> None:
    known = {"day": date(2016, 1, 4), "list": (1, np.float64(0.5), None), "on": True, "text": "a b"}
    assert shown(known) == "{day: 2016-01-04, list: [1, 0.5, null], on: true, text: 'a b'}"
    assert shown(DataRange(start=date(2016, 1, 4))) == "{start: 2016-01-04, end: null, source: null}"
    assert shown(np.array([1.5, 2.0])) == "[1.5, 2.0]"
    # What this test guards against.
    assert PYTHON.search(str(known))
    assert PYTHON.search(repr(DataRange(start=date(2016, 1, 4))))
