"""Make a version of a model the one in production: `promote_model.py ES v3 --reason TEXT`."""

from __future__ import annotations

from lockstep.console import run
from lockstep.models.cli import promote_app as app

if __name__ == "__main__":
    run(app)
