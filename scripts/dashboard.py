"""A desk in the browser of this machine: `dashboard.py [--port N]`. It only reads."""

from __future__ import annotations

from lockstep.console import run
from operations.dashboard.cli import app

if __name__ == "__main__":
    run(app)
