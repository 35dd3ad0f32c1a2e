"""The tear sheet: one self-contained HTML page about one backtest.

The names below are loaded when they are first used: the page kit beside them needs no pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from research.report.data import ReportData as ReportData
    from research.report.tearsheet import write_tearsheet as write_tearsheet

_HOMES = {"ReportData": "research.report.data", "write_tearsheet": "research.report.tearsheet"}

__all__ = ["ReportData", "write_tearsheet"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'research.report' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
