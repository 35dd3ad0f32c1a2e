"""Train models again when something calls for it: `retrain.py plan|run|status|approve|abort`."""

from __future__ import annotations

from lockstep.console import run
from operations.retraining.cli import app

if __name__ == "__main__":
    run(app)
