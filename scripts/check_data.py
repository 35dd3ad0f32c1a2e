"""Check a data file: its rows, and what in them is suspicious."""

from __future__ import annotations

from lockstep.console import run
from operations.quality.cli import app

if __name__ == "__main__":
    run(app)
