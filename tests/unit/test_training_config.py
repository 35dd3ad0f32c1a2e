"""Training files: what is read, and what is refused with one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lockstep.errors import ConfigError
from research.training.config import TrainingConfig, load_training
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


def test_a_record_reads_back(tmp_path: Path) -> None:
    known = load_training(ROOT / "configs/training/ES.yml")
    assert TrainingConfig.model_validate(known.model_dump(mode="json")) == known


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
        ({"data": {"start": "2016-01-01", "end": "2015-01-01"}}, "start must lie before end"),
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
