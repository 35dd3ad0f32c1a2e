"""`MonitoringConfig`: what `configs/monitoring.yml` says. Frozen; unknown fields are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from lockstep.desk import anchored, desk_folder
from lockstep.live.config import AlertSettings, LiveConfig
from lockstep.monitoring.decay import DecaySettings
from lockstep.settings import Settings, read_yaml, validated

_Pause = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class MonitoringConfig(Settings):
    """How a desk is watched; times in seconds, paths relative to the working or the desk folder.

    Nothing here changes how often an alarm is false: floors, bets, thresholds and the history of features are
    frozen in each model's monitoring reference.

    desk           the desk's live.yml, which names journal, status file and model store
    database       the monitor's own SQLite file
    every          pause between two passes of a monitor that keeps running
    stale_after    age of the last pass after which the desk counts as not watched, at least `every`
    decay          the keys that a half-life is compared with; see `lockstep.monitoring.decay`
    alerts         where alerts go; None: where those of the desk go
    open_sessions  sessions after which a signal that has no outcome yet is mentioned

    >>> from lockstep.market.config import shipped_config
    >>> config = MonitoringConfig.load(shipped_config("monitoring.yml"))
    >>> str(config.desk), config.stale_after / 3_600
    ('configs/live.yml', 26.0)
    """

    desk: Path
    database: Path
    every: _Pause = 60.0
    stale_after: _Pause = 93_600.0
    decay: DecaySettings = DecaySettings()
    alerts: AlertSettings | None = None
    open_sessions: Annotated[int, Field(ge=1)] = 60

    @model_validator(mode="after")
    def _stale_later(self) -> Self:
        if self.stale_after < self.every:
            raise ValueError(
                f"stale_after {self.stale_after:g} is below every {self.every:g}: the desk would count as "
                "not watched between two passes; raise stale_after"
            )
        return self

    @classmethod
    def load(cls, path: Path) -> MonitoringConfig:
        """Read a YAML file; ConfigError naming file, field, value and rule.

        Relative paths in a file of a desk folder are relative to that folder.
        """
        settings = validated(cls, read_yaml(path), where=str(path))
        desk = desk_folder(path.parent)
        return settings if desk is None else anchored(settings, desk.root)

    def alerts_of(self, live: LiveConfig) -> AlertSettings:
        """Return where alerts go, for the configuration of the desk."""
        return live.alerts if self.alerts is None else self.alerts
