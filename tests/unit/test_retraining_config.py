"""What `retraining.yml` may say: the shipped ones, that of a desk folder, and every refusal in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lockstep.errors import ConfigError
from lockstep.market.config import shipped_config
from operations.init import make_desk
from operations.retraining.config import RetrainingConfig


def test_a_person_approves_where_nothing_else_is_said() -> None:
    config = RetrainingConfig.load(shipped_config("retraining.yml"))
    assert config.approval == "person"
    assert (config.watch_hours, config.months, config.cool_down_days) == (48.0, 6, 30)


def test_a_desk_folder_has_one_with_its_own_paths(tmp_path: Path) -> None:
    root = make_desk(tmp_path / "desk")
    config = RetrainingConfig.load(root / "retraining.yml")
    assert config.monitoring == root / "monitoring.yml"
    assert config.monitoring.is_file()
    assert config.database == root / "live" / "retraining.db"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"approval": "nobody"}, "approval"),
        ({"margin": 0}, "margin"),
        ({"margin": 1.5}, "margin"),
        ({"max_days": 0}, "max_days"),
        ({"aproval": "auto"}, "unknown key 'aproval'; did you mean 'approval'"),
        ({"features": ["ibs"]}, "unknown key 'features'"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, change: dict[str, object], said: str) -> None:
    content = yaml.safe_load(shipped_config("retraining.yml").read_text())
    path = tmp_path / "retraining.yml"
    path.write_text(yaml.safe_dump({**content, **change}))
    with pytest.raises(ConfigError, match=said) as refusal:
        RetrainingConfig.load(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
