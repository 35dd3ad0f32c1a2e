"""Export what was recorded: `export.py fills --journal live.db --format csv --out fills.csv`."""

from __future__ import annotations

from lockstep.console import run
from operations.export_cli import app

if __name__ == "__main__":
    run(app)
