"""Check a strategy and its features for look-ahead: exit code 0 none, 1 found, 2 refused."""

from __future__ import annotations

from lockstep.console import run
from research.checks.cli import lookahead_app as app

if __name__ == "__main__":
    run(app)
