"""Compare two strategies side by side: `ab.py create|status|evaluate|stop`."""

from __future__ import annotations

from lockstep.console import run
from operations.ab.cli import app

if __name__ == "__main__":
    run(app)
