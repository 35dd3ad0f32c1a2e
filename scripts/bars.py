"""Quarantined bars of the live engine: `list`, `accept`, `reject`: `bars.py --help`."""

from __future__ import annotations

from lockstep.console import run
from lockstep.live.bars_cli import app

if __name__ == "__main__":
    run(app)
