"""Make a portfolio of a plan: exit code 0 written, 2 refused."""

from __future__ import annotations

from lockstep.console import run
from research.optimise.command import app

if __name__ == "__main__":
    run(app)
