"""Captions that carry numbers: what the dotted lines of a figure are."""

from __future__ import annotations

import numpy as np

from research.report.data import ReportData, floats
from research.report.figures_trades import FIRST_VIEW_BARS
from research.report.numbers import percent, ratio, usd
from research.report.series import thinning_note
from research.report.tables import ibs_deciles


def distribution(report: ReportData) -> str:
    """Return mean and median of closed trades."""
    pnl = floats(report.closed, "net_pnl")
    if not pnl.size:
        return "Net of commission and slippage."
    return (
        f"Net of commission and slippage. Mean {usd(float(pnl.mean()))} (dotted), "
        f"median {usd(float(np.median(pnl)))} (dashed)."
    )


def trades(report: ReportData) -> str:
    """Return what the time axis is, what the first view shows, and whether points were left out."""
    bars = len(report.equity)
    clock = "Session dates." if report.is_daily else "Bar ends in UTC."
    view = f"First view: each of the last {FIRST_VIEW_BARS} bars. " if bars > FIRST_VIEW_BARS else ""
    return f"{clock} {view}Drag to zoom, double-click for all. {thinning_note(bars)}".rstrip()


def rolling(report: ReportData) -> str:
    """Return the Sharpe ratio of the whole run."""
    return f"Annualised, from session returns. Whole run {ratio(report.metrics.get('sharpe'))} (dotted)."


def deciles(report: ReportData) -> str:
    """Return what the bars and whiskers mean, and the mean of all bars."""
    found = ibs_deciles(report)
    overall = percent(found.overall, 3) if found.in_percent else f"{ratio(found.overall, 3)} points"
    following = "session" if report.is_daily else "bar"
    return (
        f"Mean close-to-close move of the next {following} by tenths of the IBS range, before costs; "
        f"whiskers are 95% intervals (1.96 standard errors). All bars {overall} (dotted)."
    )
