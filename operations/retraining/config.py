"""`RetrainingConfig`: what `configs/retraining.yml` says. Frozen; unknown fields are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lockstep.desk import anchored, desk_folder
from lockstep.settings import Settings, read_yaml, validated

_Days = Annotated[int, Field(ge=1, le=3_650)]


class RetrainingConfig(Settings):
    """When a desk's models are trained again, and who approves; paths relative to the working or desk folder.

    What a model is (family, features, search space, validation, limits) is no key here: that is taken from
    the record of the version in production.

    monitoring       the monitor's configuration, which names the desk and `monitor.db`
    database         the book of retrainings, an SQLite file of its own
    runs             folder of the training runs
    approval         `person`: a challenger that is better, or not worse, waits for `retrain approve`;
                     `auto`: it is promoted at once
    margin           how much lower the mean score of a challenger that counts as not worse may be, (0, 1];
                     the score of a signal is 1 - (probability - won)^2
    max_days         of the desk's time in shadow, after which an undecided challenger is rejected
    cool_down_days   between the beginnings of two retrainings of a symbol
    months           after the newest bar of its training at which a model is trained again
    watch_hours      of the desk's time, from the first decision after a promotion
    trials           search steps; None: as many as the version in production had
    jobs             processes of a search; -1: one per core; does not affect the result
    cluster          address of a Dask scheduler whose workers search, tcp://host:8786; None: this machine.
                     Does not affect the result
    certify_sessions, restarts   newest sessions of a certificate, and kills of the engine on the way

    >>> from lockstep.market.config import shipped_config
    >>> config = RetrainingConfig.load(shipped_config("retraining.yml"))
    >>> config.approval, config.max_days, config.margin
    ('person', 120, 0.02)
    """

    monitoring: Path
    database: Path
    runs: Path
    approval: Literal["person", "auto"] = "person"
    margin: Annotated[float, Field(gt=0, le=1)] = 0.02
    max_days: _Days = 120
    cool_down_days: _Days = 30
    months: Annotated[int, Field(ge=1, le=120)] = 6
    watch_hours: Annotated[float, Field(gt=0, le=10_000)] = 48.0
    trials: Annotated[int, Field(ge=1)] | None = None
    jobs: int = -1
    cluster: str | None = None
    certify_sessions: Annotated[int, Field(ge=20)] = 500
    restarts: Annotated[int, Field(ge=0, le=100)] = 2

    def on(self, cluster: str | None) -> RetrainingConfig:
        """Return the same on the workers of a scheduler; None: as it is."""
        return self if cluster is None else self.model_copy(update={"cluster": cluster})

    @classmethod
    def load(cls, path: Path) -> RetrainingConfig:
        """Read a YAML file; ConfigError naming file, field, value and rule.

        Relative paths in a file of a desk folder are relative to that folder.
        """
        settings = validated(cls, read_yaml(path), where=str(path))
        desk = desk_folder(path.parent)
        return settings if desk is None else anchored(settings, desk.root)
