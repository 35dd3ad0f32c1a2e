"""Let research agents look for strategies: `agents.py session|resume|list|show|top|gate|register`."""

from __future__ import annotations

from lockstep.console import run
from operations.agents.cli import app

if __name__ == "__main__":
    run(app)
