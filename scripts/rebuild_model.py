"""Train a historical version again: exit code 0 the same SHA-256, 1 another, 2 refused."""

from __future__ import annotations

from lockstep.console import run
from operations.rebuild_cli import app

if __name__ == "__main__":
    run(app)
