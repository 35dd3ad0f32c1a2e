"""A tear sheet from anybody's results: `scripts/tearsheet.py RETURNS.csv`, or a list of trades."""

from __future__ import annotations

from lockstep.console import run
from research.report.cli import app

if __name__ == "__main__":
    run(app)
