"""What `monitoring.yml` may say: the shipped ones, those of a desk folder, and every refusal in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lockstep.errors import ConfigError
from lockstep.live.config import LiveConfig
from lockstep.market.config import shipped_config
from lockstep.monitoring.decay import DecaySettings
from lockstep.monitoring.discord import DiscordSinkSettings
from operations.init import make_desk
from operations.watch.config import MonitoringConfig

LEAST: dict[str, Any] = {"desk": "live.yml", "database": "monitor.db"}


def written(folder: Path, **content: Any) -> Path:
    path = folder / "monitoring.yml"
    path.write_text(yaml.safe_dump({**LEAST, **content}))
    return path


@pytest.mark.parametrize(
    ("name", "desk", "database"),
    [
        ("monitoring.yml", "configs/live.yml", "live/monitor.db"),
        ("demo/monitoring.yml", "configs/demo/live.yml", "results/demo/live/monitor.db"),
    ],
)
def test_the_shipped_ones_watch_the_shipped_desks(name: str, desk: str, database: str) -> None:
    config = MonitoringConfig.load(shipped_config(name))
    assert (str(config.desk), str(config.database)) == (desk, database)
    live = yaml.safe_load(shipped_config(desk.removeprefix("configs/")).read_text())
    assert config.database.parent == Path(live["status"]).parent


def test_the_plans_keys_are_the_defaults(tmp_path: Path) -> None:
    config = MonitoringConfig.load(written(tmp_path))
    assert config == MonitoringConfig.load(
        written(tmp_path, every=60, stale_after=26 * 3_600, open_sessions=60)
    )
    assert config.decay == DecaySettings(alert_below=8, warning_below=15, least=60, window=252)
    shipped = MonitoringConfig.load(shipped_config("monitoring.yml"))
    assert shipped.model_copy(update={"desk": config.desk, "database": config.database}) == config


def test_a_new_desk_can_be_watched_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCKSTEP_HOME", "LOCKSTEP_INSTRUMENTS", "LOCKSTEP_MODEL_STORE"):
        monkeypatch.delenv(name, raising=False)
    root = make_desk(tmp_path / "desk")
    config = MonitoringConfig.load(root / "monitoring.yml")
    assert (config.desk, config.database) == (root / "live.yml", root / "live" / "monitor.db")
    live = LiveConfig.load(config.desk)
    assert config.alerts_of(live) == live.alerts
    assert live.status.parent == config.database.parent
    moved = root.rename(tmp_path / "moved")
    assert MonitoringConfig.load(moved / "monitoring.yml").database == moved / "live" / "monitor.db"


def test_alerts_of_its_own_replace_those_of_the_desk(tmp_path: Path) -> None:
    root = make_desk(tmp_path / "desk")
    sinks = [{"kind": "discord", "url_file": "secrets/models"}]
    config = MonitoringConfig.load(written(root, alerts={"sinks": sinks, "rate": {"burst": 2}}))
    found = config.alerts_of(LiveConfig.load(root / "live.yml"))
    assert found.rate.burst == 2
    (sink,) = found.sinks
    assert isinstance(sink, DiscordSinkSettings)
    assert sink.url_file == root / "secrets" / "models"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"databse": "x"}, "databse.*did you mean 'database'"),
        ({"alpha": 0.01}, "alpha"),
        ({"floors": {"win_rate": 0.4}}, "floors"),
        ({"every": 0}, "every"),
        ({"every": float("nan")}, "every"),
        ({"every": 100, "stale_after": 60}, "stale_after 60 is below every 100.*raise stale_after"),
        ({"decay": {"alert_below": 20}}, "alert_below 20 is above warning_below 15; swap them"),
        ({"open_sessions": 0}, "open_sessions"),
        ({"alerts": {"sinks": [{"kind": "discorde"}]}}, "did you mean 'discord'"),
    ],
)
def test_what_it_may_not_say_is_one_line(tmp_path: Path, content: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        MonitoringConfig.load(written(tmp_path, **content))
    assert "\n" not in str(error.value)
    assert str(tmp_path / "monitoring.yml") in str(error.value)


def test_a_file_that_is_missing_or_empty_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read as YAML: No such file"):
        MonitoringConfig.load(tmp_path / "monitoring.yml")
    (tmp_path / "monitoring.yml").write_text("")
    with pytest.raises(ConfigError, match=r"monitoring\.yml"):
        MonitoringConfig.load(tmp_path / "monitoring.yml")
