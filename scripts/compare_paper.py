"""Paper against backtest: exit code 0 equal and inside the bands, 1 not, 2 refused."""

from __future__ import annotations

from certify.paper_cli import app
from lockstep.console import run

if __name__ == "__main__":
    run(app)
