"""Withdraw a version for good: `retire_model.py ES v1 --reason TEXT`."""

from __future__ import annotations

from lockstep.console import run
from lockstep.models.cli import retire_app as app

if __name__ == "__main__":
    run(app)
