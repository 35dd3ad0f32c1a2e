"""Gradual roll-out of the live engine: `show`, `advance`, `step-back`: `rollout.py --help`."""

from __future__ import annotations

from lockstep.console import run
from lockstep.live.operator.rollout_cli import app

if __name__ == "__main__":
    run(app)
