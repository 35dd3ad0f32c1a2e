"""What the live engine is doing: `status.py [--json]`. Exit code 0 fine, 1 look at it, 2 no status."""

from __future__ import annotations

from lockstep.console import run
from lockstep.live.cli import status_app as app

if __name__ == "__main__":
    run(app)
