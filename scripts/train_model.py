"""Train the model of one instrument and register it as a candidate: exit code 0, or 2 refused."""

from __future__ import annotations

from lockstep.console import run
from research.training.cli import train_app as app

if __name__ == "__main__":
    run(app)
