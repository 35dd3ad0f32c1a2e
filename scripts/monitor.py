"""Watch a running desk: `monitor.py run|show|ack|rebuild|explain`."""

from __future__ import annotations

from lockstep.console import run
from operations.watch.cli import app

if __name__ == "__main__":
    run(app)
