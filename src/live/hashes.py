"""What an epoch was begun with: hashes of code, configuration and lock file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from lockstep.compiled import package_digest
from lockstep.models.present import lock_hash
from lockstep.settings import read_yaml


def live_hashes(config: Path, *, lock: Path | None = None) -> dict[str, str]:
    """Return SHA-256 (hex) by name: `code`, `config` and, where there is a lock file, `lock`.

    config   of the content of live.yml: comments and layout do not count. Strategy configurations are hashed
             in the bundles. ConfigError where the file cannot be read.
    """
    content = json.dumps(read_yaml(config), sort_keys=True, default=str)
    hashes = {"code": package_digest(), "config": hashlib.sha256(content.encode()).hexdigest()}
    return hashes | ({"lock": found} if (found := lock_hash(lock) if lock else lock_hash()) else {})
