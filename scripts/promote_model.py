"""Put a version into production: `promote_model.py ES v3`, or `promote_model.py ES --strategy FILE`."""

from __future__ import annotations

from lockstep.console import run
from operations.promote_cli import app

if __name__ == "__main__":
    run(app)
