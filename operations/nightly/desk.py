"""What a night reads of the desk that it watches: what is new there makes a step anew, and a night.

The night itself writes beside a desk: the monitor's derived rows, steps of a retraining, versions of a
store. It would never come to an end if its own work were news to it. So only what others did counts here: the
engine, which goes on with its journal; people, who acknowledge, approve, promote and configure; whoever
delivers bars.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lockstep.errors import LockstepError
from lockstep.live.config import HistorySettings, LiveConfig
from lockstep.live.journal import Journal
from lockstep.market.config import InstrumentBook
from lockstep.market.instrument import traded_symbol
from lockstep.models.store import ModelStore
from operations.retraining.book import AUTO, RetrainingBook, mark_of
from operations.retraining.config import RetrainingConfig
from operations.watch.config import MonitoringConfig
from operations.watch.database import MonitorDatabase


def journal_state(path: Path) -> str:
    """Return the hash of a journal's newest entry, which covers all before it, or why it cannot be read."""
    try:
        with Journal.open(path, readonly=True) as journal:
            return journal.newest_hash()
    except LockstepError as error:
        return str(error)


def desk_state(watched: Path, book: InstrumentBook, *, by: str) -> dict[str, Any]:
    """Return, as plain JSON, what the monitor of a configuration reads and `by`, the night, does not write.

    ConfigError where a configuration cannot be read.
    """
    settings = MonitoringConfig.load(watched)
    live = LiveConfig.load(settings.desk)
    symbols = sorted({traded_symbol(each.symbol) for each in live.instruments})
    return {
        "monitoring": settings.model_dump(mode="json"),
        "live": live.model_dump(mode="json"),
        "journal": journal_state(live.journal),
        "acknowledged": _acknowledged(settings.database),
        "models": _changes_of_models(live.store, by),
        "bars": dict(_bars(symbols, live.history, book)),
    }


def retraining_state(path: Path) -> dict[str, Any]:
    """Return, as plain JSON, what people say to the retrainings of a configuration; ConfigError as above."""
    settings = RetrainingConfig.load(path)
    try:
        with RetrainingBook.open(settings.database, readonly=True) as book:
            said: Any = [[each.run, str(each.step), each.by] for each in book.rows() if each.by != AUTO]
    except LockstepError as error:
        said = str(error)
    return {"retraining": settings.model_dump(mode="json"), "said": said}


def file_digests(
    symbols: Iterable[str], folder: Path | None, source: str | None, book: InstrumentBook
) -> Iterator[tuple[str, str]]:
    """Yield path and SHA-256 (hex) of each symbol's file, and of its pair's where that is there.

    DataError where a symbol has no file, OSError where one cannot be read.
    """
    for symbol in symbols:
        _, path = book.source(symbol, folder, name=source)
        yield str(path), _digest(path)
        pair = book.instrument(symbol).pair
        if pair is not None:
            try:
                _, path = book.source(pair, folder, name=source)
            except LockstepError:
                continue
            yield str(path), _digest(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bars(
    symbols: Iterable[str], history: HistorySettings, book: InstrumentBook
) -> Iterator[tuple[str, str]]:
    for symbol in symbols:
        try:
            yield from file_digests([symbol], history.data_dir, history.source, book)
        except (LockstepError, OSError) as error:
            yield symbol, str(error)


def _acknowledged(database: Path) -> Any:
    if not database.is_file():
        return []
    try:
        with MonitorDatabase.open(database, readonly=True) as opened:
            return [list(each.values()) for each in opened.rows("acknowledgements")]
    except LockstepError as error:
        return str(error)


def _changes_of_models(folder: Path | None, by: str) -> Any:
    """Return what others than the night and its retrainings did in a model store."""
    try:
        history = ModelStore(folder).manifest().history
    except LockstepError as error:
        return str(error)
    own = mark_of("")
    return [
        [each.action, each.symbol, each.version, each.reason, each.by, each.time.isoformat()]
        for each in history
        if each.by not in (by, AUTO) and not each.reason.startswith(own)
    ]
