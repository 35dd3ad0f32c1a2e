"""A metric, and the card of the tear sheet that shows it: the system quality number of Van Tharp."""

from __future__ import annotations

import math

import numpy as np

from lockstep.metrics import Floats
from research.report.data import TRADES, ReportData, floats
from research.report.page import ratio
from research.report.section import Section


def system_quality(pnl: Floats) -> float:
    """Mean over deviation of the trades' results, times the square root of their number (100 at most).

    pnl: float64 (k,), USD, net of costs. nan for fewer than two trades, a value that is not finite, or no
    deviation. Source: Tharp, Trade Your Way to Financial Freedom (2007).
    """
    if pnl.size < 2 or not np.isfinite(pnl).all():
        return math.nan
    spread = float(pnl.std(ddof=1))
    # Equal results that differ by rounding only have no deviation.
    if spread <= 1e-12 * float(np.abs(pnl).max()):
        return math.nan
    return float(pnl.mean()) / spread * math.sqrt(min(pnl.size, 100))


def _content(report: ReportData) -> str:
    return f"System quality number {ratio(system_quality(floats(report.trades, 'net_pnl')))}"


SYSTEM_QUALITY = Section(
    name="System quality",
    part="Trades",
    content=_content,
    caption="1.6 is poor, 2 average, 3 good. Net of costs.",
    shown=lambda report: TRADES in report.known,
)
