"""Run a strategy and a variant of it over the same bars: `evaluate_variant.py --set entry.high=0.25`."""

from __future__ import annotations

from lockstep.console import run
from operations.evaluations_cli import variant_app as app

if __name__ == "__main__":
    run(app)
