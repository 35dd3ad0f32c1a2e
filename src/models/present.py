"""What evidence has to have been gathered with to count here and now: this code, these libraries."""

from __future__ import annotations

import hashlib
from pathlib import Path

import lockstep
from lockstep.compiled import source_digest

_LOCK = Path(lockstep.__file__).resolve().parents[1] / "requirements.lock"


def lock_hash(lock: Path = _LOCK) -> str:
    """Return the SHA-256 (hex) of the lock file, empty where there is none, as beside an installed wheel."""
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else ""


def present_hashes() -> dict[str, str]:
    """Return `code`, the hash of all sources, and `lock`."""
    return {"code": source_digest(), "lock": lock_hash()}
