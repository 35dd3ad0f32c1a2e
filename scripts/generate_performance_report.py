"""Report a month of a desk or of a run: `generate_performance_report.py --month 2026-03 [--pdf]`."""

from __future__ import annotations

from lockstep.console import run
from operations.reports.cli import report_app as app

if __name__ == "__main__":
    run(app)
