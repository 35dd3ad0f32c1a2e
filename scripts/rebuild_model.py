"""Train a historical version again: exit code 0 the same SHA-256, 1 another, 2 refused."""

from __future__ import annotations

from lockstep.console import run
from research.training.cli import rebuild_app as app

if __name__ == "__main__":
    run(app)
