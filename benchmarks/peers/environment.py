"""The environment of the peers: built once, and again when their versions change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
_LOCK = _HERE / "requirements.lock"
FOLDER = _ROOT / ".venv-peers"


class PeersMissing(Exception):
    """The environment cannot be built here; the text says why."""


def python() -> Path:
    """Return the interpreter of the peers' environment; PeersMissing where it cannot be built."""
    found, stamp = FOLDER / "bin" / "python", FOLDER / _LOCK.name
    wanted = _LOCK.read_text(encoding="utf-8")
    if found.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return found
    shutil.rmtree(FOLDER, ignore_errors=True)
    _run(str(_ROOT / "scripts" / "environment.sh"), "--bare", str(_LOCK), str(FOLDER))
    stamp.write_text(wanted, encoding="utf-8")
    return found


def _run(*command: str) -> None:
    settings = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise PeersMissing(" ".join(lines[-2:]))
