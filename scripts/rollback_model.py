"""Go back to the version that was in production before: `rollback_model.py ES --reason TEXT`."""

from __future__ import annotations

from lockstep.console import run
from lockstep.models.cli import rollback_app as app

if __name__ == "__main__":
    run(app)
