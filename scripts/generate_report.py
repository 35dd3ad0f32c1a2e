"""Write the page of an experiment or of a candidate."""

from __future__ import annotations

from lockstep.console import run
from operations.evaluations_cli import report_app as app

if __name__ == "__main__":
    run(app)
