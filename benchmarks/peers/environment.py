"""The environment of the peers: built once, and again when their versions change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_REQUIREMENTS = _HERE / "requirements.txt"
FOLDER = _HERE.parents[1] / ".venv-peers"


class PeersMissing(Exception):
    """The environment cannot be built here; the text says why."""


def python() -> Path:
    """Return the interpreter of the peers' environment; PeersMissing where it cannot be built."""
    found, stamp = FOLDER / "bin" / "python", FOLDER / "requirements.txt"
    wanted = _REQUIREMENTS.read_text(encoding="utf-8")
    if found.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return found
    _run(sys.executable, "-m", "venv", "--clear", str(FOLDER))
    _run(str(found), "-m", "pip", "install", "--quiet", "--requirement", str(_REQUIREMENTS))
    stamp.write_text(wanted, encoding="utf-8")
    return found


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise PeersMissing(f"{' '.join(command[1:4])}: {lines[-1]}")
