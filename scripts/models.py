"""The model zoo: get or create a model, improve one in the background, list, show and report."""

from __future__ import annotations

from lockstep.console import run
from research.zoo.cli import app

if __name__ == "__main__":
    run(app)
