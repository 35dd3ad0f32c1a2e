"""Judge a model and attach the verdict to the manifest: exit code 0 passed, 1 failed, 2 refused."""

from __future__ import annotations

from lockstep.console import run
from research.model_validation.command import app

if __name__ == "__main__":
    run(app)
