"""What an epoch was begun with: hashes of code, configuration and lock file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import lockstep
from lockstep.compiled import source_digest
from lockstep.market.validation import read_yaml

_LOCK = Path(lockstep.__file__).resolve().parents[1] / "requirements.lock"


def live_hashes(config: Path, *, lock: Path = _LOCK) -> dict[str, str]:
    """Return SHA-256 (hex) by name: `code`, `config` and, where there is a lock file, `lock`.

    config   of the content of live.yml: comments and layout do not count. Strategy configurations are hashed
             in the bundles. ConfigError where the file cannot be read.
    """
    content = json.dumps(read_yaml(config), sort_keys=True, default=str)
    hashes = {"code": source_digest(), "config": hashlib.sha256(content.encode()).hexdigest()}
    return hashes | ({"lock": found} if (found := lock_hash(lock)) else {})


def lock_hash(lock: Path = _LOCK) -> str:
    """Return the SHA-256 (hex) of the lock file, empty where there is none, as beside an installed wheel."""
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else ""
