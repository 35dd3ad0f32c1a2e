"""The book of retrainings in a backup set: the only record of who approved what."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lockstep.errors import BackupError, ConfigError, RetrainingError
from operations.monitor_backup import copy_between_writes, damage_of, watched_by
from operations.retraining.book import RetrainingBook
from operations.retraining.config import RetrainingConfig

BOOK = "retraining.db"


def retrained_by(config: Path, journal: Path | None, *, named: bool) -> tuple[Path | None, str]:
    """Return the book of the retrainings of a journal's desk, and why there is none to copy.

    config   of the retrainings; named: whether somebody named it, else it is the default, which need not be
             there

    Raises: BackupError where one that was named is of another journal's desk; ConfigError.
    """
    if not named and not config.is_file():
        return None, ""
    try:
        settings = RetrainingConfig.load(config)
    except ConfigError as error:
        if named:
            raise
        return None, f"no book of retrainings is part of it: {error}"
    monitor, why = watched_by(settings.monitoring, journal, named=named)
    return (None if monitor is None else settings.database), why


def copy_book(source: Path, target: Path) -> int:
    """Copy a book of retrainings into a new file, as it is between two of its steps; return its rows.

    A retraining may be running. BackupError where the file is missing, no book, or not what was written.
    """
    if not source.is_file():
        raise BackupError(f"backup: retrainings {source}: no such file; name the book, or leave it out")
    try:
        copy_between_writes(source, target)
        return _rows(target)
    except (RetrainingError, sqlite3.Error) as error:
        raise BackupError(f"backup: retrainings {source}: {error}") from error


def book_faults(file: Path, listed: int | None) -> Iterator[str]:
    """Yield what is wrong with the copy of a book; `listed`: its rows when it was written, None: none."""
    if listed is None:
        return
    damage = damage_of(file)
    yield from damage
    if not damage and (found := _rows(file)) != listed:
        yield f"{file.name}: has {found} rows, written were {listed}"


def _rows(file: Path) -> int:
    """Return how many rows a book has; its chain is verified on the way."""
    with RetrainingBook.open(file, readonly=True) as book:
        return len(book.rows())
