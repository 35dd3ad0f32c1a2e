"""Look at the live engine's journal, verify it, back it up, begin an epoch: `journal.py --help`."""

from __future__ import annotations

from lockstep.console import run
from lockstep.live.operator.journal_cli import app

if __name__ == "__main__":
    run(app)
