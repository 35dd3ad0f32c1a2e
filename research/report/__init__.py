"""The tear sheet: one self-contained HTML page about one backtest."""

from research.report.data import ReportData
from research.report.tearsheet import write_tearsheet

__all__ = ["ReportData", "write_tearsheet"]
