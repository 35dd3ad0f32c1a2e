"""Search parameters, count every trial, promote what survives: `experiments.py --help`."""

from __future__ import annotations

from functools import partial

from certify.realised import of_journal
from lockstep.console import run
from research.experiments.cli import app

if __name__ == "__main__":
    run(partial(app, obj=of_journal))
