"""Run the live engine: `run_live.py --config configs/live.yml [--mode paper|shadow|live]`."""

from __future__ import annotations

from lockstep.console import run
from lockstep.live.main import app

if __name__ == "__main__":
    run(app)
