"""The monitor's database in a backup set: acknowledgements and first values that nothing can derive again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from lockstep.errors import BackupError, ConfigError, MonitorError
from lockstep.live.config import LiveConfig
from operations.watch.config import MonitoringConfig
from operations.watch.database import RECORDED, MonitorDatabase

MONITOR = "monitor.db"


def watched_by(config: Path, journal: Path | None, *, named: bool) -> tuple[Path | None, str]:
    """Return the database of a monitor that watches a journal, and why there is none to copy.

    config   the monitor's; named: whether somebody named it, else it is the default, which need not be there

    Raises: BackupError where a monitor that was named watches another journal; ConfigError.
    """
    if not named and not config.is_file():
        return None, ""
    try:
        settings = MonitoringConfig.load(config)
        watched = LiveConfig.load(settings.desk).journal
    except ConfigError as error:
        if named:
            raise
        return None, f"no monitor is part of it: {error}"
    if journal is not None and watched.resolve() != journal.resolve():
        if named:
            raise BackupError(
                f"backup: {config} watches journal {watched}, not {journal}; name the monitor of this desk"
            )
        return None, ""
    return settings.database, ""


def copy_monitor(source: Path, target: Path) -> dict[str, int]:
    """Copy a monitor's database into a new file, as it is between two of its steps; return recorded rows.

    A monitor may be writing. BackupError where the file is missing or not a monitor's.
    """
    try:
        with MonitorDatabase.open(source, readonly=True):
            pass
        copy_between_writes(source, target)
        return _counted(target)
    except (MonitorError, sqlite3.Error) as error:
        raise BackupError(f"backup: monitor {source}: {error}") from error


def _counted(file: Path) -> dict[str, int]:
    with MonitorDatabase.open(file, readonly=True) as copied:
        return {table: len(copied.rows(table)) for table in RECORDED}


def monitor_faults(file: Path, listed: dict[str, int] | None) -> Iterator[str]:
    """Yield what is wrong with the copy of a monitor's database.

    listed   its recorded rows as they were written; None: the set has none
    """
    if listed is None:
        return
    damage = damage_of(file)
    yield from damage
    if damage:
        return
    for table, count in _counted(file).items():
        if count != listed.get(table):
            yield f"{file.name}: {table} has {count} rows, written were {listed.get(table)}"


def copy_between_writes(source: Path, target: Path) -> None:
    """Copy an SQLite file into a new one without a log, as it is between two writes of whoever has it open.

    sqlite3.Error where it cannot be read or written.
    """
    with (
        closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=60.0)) as one,
        closing(sqlite3.connect(target)) as other,
    ):
        one.backup(other)
        other.execute("PRAGMA journal_mode = DELETE")


def damage_of(file: Path) -> list[str]:
    """Return what SQLite finds wrong with a file that nobody writes, one line each; empty for a sound one."""
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as copied:
        try:
            answers = [answer for (answer,) in copied.execute("PRAGMA integrity_check")]
        except sqlite3.Error as error:
            answers = [str(error)]
    return [f"{file.name}: {answer}" for answer in answers if answer != "ok"]
