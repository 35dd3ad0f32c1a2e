"""Back up journal, store, ledger and monitor as one set, verify it, restore it: `backup.py --help`."""

from __future__ import annotations

from lockstep.console import run
from operations.backup_cli import app

if __name__ == "__main__":
    run(app)
