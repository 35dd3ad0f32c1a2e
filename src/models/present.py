"""What evidence must have been gathered with to count now: this code, lock file and instruments."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

import lockstep
from lockstep.compiled import source_digest
from lockstep.market.config import InstrumentBook, load_instruments

_LOCK = Path(lockstep.__file__).resolve().parents[1] / "requirements.lock"


def lock_hash(lock: Path = _LOCK) -> str:
    """Return the SHA-256 (hex) of the lock file, empty where there is none, as beside an installed wheel."""
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else ""


def present_hashes(
    symbols: Collection[str] = (), sources: Collection[str] = (), *, book: InstrumentBook | None = None
) -> dict[str, str]:
    """Return `code`, the hash of all source files, `lock`, and where symbols are named `instruments`.

    instruments   of what `book`, by default instruments.yml as it is now, declares of these symbols and data
                  sources (`InstrumentBook.digest`); empty where one of them is not declared any more
    """
    hashes = {"code": source_digest(), "lock": lock_hash()}
    if not symbols:
        return hashes
    book = book or load_instruments()
    declared = book.instruments.keys() >= set(symbols) and book.sources.keys() >= set(sources)
    return {**hashes, "instruments": book.digest(symbols, sources) if declared else ""}
