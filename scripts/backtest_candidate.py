"""Run a registered candidate over its history and since its registration."""

from __future__ import annotations

from lockstep.console import run
from operations.evaluations_cli import candidate_app as app

if __name__ == "__main__":
    run(app)
