"""Look at every strategy once a week: `strategy_health_check.py --all`. Exit code 1: somebody should look."""

from __future__ import annotations

from lockstep.console import run
from operations.reports.cli import health_app as app

if __name__ == "__main__":
    run(app)
