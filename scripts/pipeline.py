"""Search declared spaces every night, score, decide: `pipeline.py run|resume|status|history|show`."""

from __future__ import annotations

from lockstep.console import run
from operations.nightly.cli import app

if __name__ == "__main__":
    run(app)
