"""Register what a search found and let new bars judge it: `candidates.py list|register|retire --reason`."""

from __future__ import annotations

from lockstep.console import run
from operations.candidates_cli import app

if __name__ == "__main__":
    run(app)
