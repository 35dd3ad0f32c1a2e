"""Check features of one month against a second source: exit code 0 within 5 %, 1 not, 2 refused."""

from __future__ import annotations

from lockstep.console import run
from research.checks.cli import features_app as app

if __name__ == "__main__":
    run(app)
