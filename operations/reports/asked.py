"""What a report is asked for: a month, and a desk with its journal, its monitor and its book of retrainings.

It loads in a moment, so that a wrong question is refused before the report itself is loaded.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import numpy as np

from lockstep.desk import desk_file
from lockstep.errors import ConfigError, DataError, LiveError
from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal
from lockstep.market.command_line import live_file, monitoring_file
from operations.retraining.config import RetrainingConfig
from operations.watch.config import MonitoringConfig


def month_of(text: str, today: date) -> np.datetime64:
    """Return a month as datetime64[M]; DataError unless it is one like 2026-03 and has begun.

    >>> month_of("2026-03", date(2026, 3, 1))
    np.datetime64('2026-03')
    """
    try:
        found = np.datetime64(date.fromisoformat(f"{text}-01"), "M")
    except ValueError:
        raise DataError(f"month {text!r}: must be a month like 2026-03") from None
    if found > np.datetime64(today, "M"):
        raise DataError(f"month {text}: has not begun on {today}; name one that has")
    return found


def journal_of(path: Path) -> LiveConfig:
    """Return the configuration of a desk; LiveError where its journal is absent, JournalError: unreadable."""
    config = LiveConfig.load(path)
    if not config.journal.is_file():
        raise LiveError(
            f"journal {config.journal}: there is none; let the engine of {path} run, or name another desk"
        )
    with Journal.open(config.journal, readonly=True):
        return config


def book_of(watched: MonitoringConfig | None) -> Path | None:
    """Return the book of a desk's retrainings; None where no configuration watches this desk."""
    path = Path(
        os.environ.get("LOCKSTEP_RETRAINING") or desk_file("retraining.yml", "configs/retraining.yml")
    )
    if watched is None or not path.is_file():
        return None
    settings = RetrainingConfig.load(path)
    is_ours = settings.monitoring.is_file() and MonitoringConfig.load(settings.monitoring) == watched
    return settings.database if is_ours else None


def watched_files(desk: Path | None, monitoring: Path | None) -> tuple[Path, MonitoringConfig | None]:
    """Return the live.yml of a desk and the configuration of its monitor, None where nothing watches it.

    desk         None: the one that the monitor watches, else the usual one
    monitoring   the monitor's configuration, None: the usual one, where it exists and watches this desk

    ConfigError where a configuration that was named watches another desk.
    """
    path = monitoring or monitoring_file()
    if monitoring is None and not path.is_file():
        return desk or live_file(), None
    settings = MonitoringConfig.load(path)
    if desk is None:
        return settings.desk, settings
    if desk.resolve() == settings.desk.resolve():
        return desk, settings
    if monitoring is not None:
        raise ConfigError(f"{monitoring}: watches {settings.desk}, not {desk}; name the monitor of this desk")
    return desk, None
