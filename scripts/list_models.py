"""List the models of a store."""

from __future__ import annotations

from lockstep.console import run
from lockstep.models.cli import list_app as app

if __name__ == "__main__":
    run(app)
