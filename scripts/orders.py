"""Orders of the live engine: `list`, `resolve` an UNKNOWN one, report a `fill`: `orders.py --help`."""

from __future__ import annotations

from lockstep.console import run
from lockstep.live.operator.orders_cli import app

if __name__ == "__main__":
    run(app)
