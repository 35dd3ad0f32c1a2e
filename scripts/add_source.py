"""Declare a data file in your own instruments file: `add_source.py FILE`."""

from __future__ import annotations

from lockstep.console import run
from research.utils.cli import add_app as app

if __name__ == "__main__":
    run(app)
