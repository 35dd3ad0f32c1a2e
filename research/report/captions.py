"""Captions that carry numbers or depend on what the report is."""

from __future__ import annotations

import numpy as np

from research.report import trade_tables
from research.report.data import BARS, TRADES, ReportData, floats
from research.report.figures_trades import FIRST_VIEW_BARS, doubtful, shown_trades
from research.report.page import TIMES, percent, ratio, usd
from research.report.tables import signal_deciles
from research.report.thinning import thinning_note


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
    shown = len(shown_trades(report))
    left_out = (
        f" {shown:,} of {len(report.trades):,} trades are drawn: the best, the worst, the latest and a "
    )
    left_out = f"{left_out}sample." if shown < len(report.trades) else ""
    ringed = " Ringed: trades across a hole, a jump or a ruin." if doubtful(report.trades).any() else ""
    text = f"{clock} {view}Drag to zoom, double-click for all. {thinning_note(bars)}".rstrip()
    return f"{text}{left_out}{ringed}"


def equity(report: ReportData) -> str:
    """Return what the curve is, and whether points were left out."""
    if report.compounded:
        text = f"Growth of {usd(report.capital)} (dotted), returns compounded."
    else:
        text = "Profit and loss on constant notional capital (dotted)"
        text += ", costs included, marked at every bar's close." if BARS in report.known else "."
    if report.beside is not None:
        text += f" Beside it {report.beside.name}, from the same capital: unlevered and without costs."
    return f"{text} {thinning_note(len(report.equity))}".rstrip()


def months(report: ReportData) -> str:
    """Return how months become years."""
    if report.compounded:
        return "Compounded within months and years."
    return "Percent of capital. Sizes follow constant capital, so months add up to years."


def years(report: ReportData) -> str:
    """Return what a row refers to."""
    text = "Change of equity on the equity before." if report.compounded else "Change of equity on capital."
    if TRADES in report.known:
        text += " Trades are counted in the year they end."
    if report.beside is not None:
        text += f" Benchmark: {report.beside.name}."
    return text


def benchmark(report: ReportData) -> str:
    """Return what the benchmark is."""
    if report.beside is None:
        return "Give a benchmark with --benchmark FILE."
    return f"{report.beside.name}: simple returns between the same dates, no interest subtracted."


def leverage(report: ReportData) -> str:
    """Return mean and greatest notional over capital."""
    values = trade_tables.leverage(report)
    if values is None or not values.any():
        return "Notional of the position at the close over capital."
    size = np.abs(values)
    return (
        f"Notional of the position at the close over capital; {ratio(float(size[size > 0].mean()))} {TIMES} "
        f"on average while in the market, {ratio(float(size.max()))} {TIMES} at most "
        f"({usd(float(size.max()) * report.capital)})."
    )


def excursions(report: ReportData) -> str:
    """Return the medians of winners and losers."""
    closed = report.closed
    if closed.empty:
        return "Largest moves against and for each trade."
    pnl, against = floats(closed, "net_pnl"), floats(closed, "mae")
    won, lost = against[pnl > 0], against[pnl <= 0]
    parts = [
        f"{usd(float(np.median(part)))} for {name}"
        for name, part in (("winners", won), ("losers", lost))
        if part.size
    ]
    return f"From the highs and lows of a trade's bars. Median move against it: {', '.join(parts)}."


def deciles(report: ReportData) -> str:
    """Return what the bars and whiskers mean, and the mean of all bars."""
    found = signal_deciles(report)
    overall = percent(found.overall, 3) if found.in_percent else f"{ratio(found.overall, 3)} points"
    following = "session" if report.is_daily else "bar"
    tenths = f"the {found.signal} range" if found.in_range else f"all bars by {found.signal}"
    return (
        f"Mean close-to-close move of the next {following} by tenths of {tenths}, before costs; "
        f"whiskers are 95% intervals (1.96 standard errors). All bars {overall} (dotted)."
    )
