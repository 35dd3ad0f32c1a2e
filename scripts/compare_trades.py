"""Your own trade list against a run folder: exit code 0 the same, 1 different, 2 refused."""

from __future__ import annotations

from lockstep.console import run
from research.backtest.trade_cli import app

if __name__ == "__main__":
    run(app)
