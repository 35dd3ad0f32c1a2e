"""Tables of the track record, from the trust in its Sharpe ratio to what dearer trading would leave."""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup

from lockstep import metrics
from research.report import track_record, trade_tables
from research.report import trust as believed
from research.report.data import ReportData
from research.report.page import (
    TIMES,
    coloured,
    count,
    empty_block,
    facts_table,
    joined,
    percent,
    ratio,
    small,
    table,
    usd,
)
from research.report.sections import held_unit

_LONG = 100.0  # years; a longer track record is as good as none


def signed(value: float, decimals: int = 1) -> Markup:
    """Return a fraction as a percentage, losses in their colour."""
    return coloured(percent(value, decimals))


def trust(report: ReportData) -> Markup:
    """Return interval, probability, track record and deflation of the Sharpe ratio."""
    found = believed.evidence(report)
    if found is None:
        return empty_block("The Sharpe ratio is not defined: returns do not vary, or there are too few.")
    rows = [
        ("Sharpe ratio", "annualised", ratio(found.sharpe)),
        ("95% interval", "with skew and kurtosis", f"{ratio(found.low)} to {ratio(found.high)}"),
        ("Probability that it is above zero", "probabilistic Sharpe ratio", percent(found.above_zero)),
        (
            "The same with autocorrelation",
            f"error over blocks of {report.period}s: {ratio(found.wider)} times the plain one",
            percent(found.over_blocks),
        ),
        (
            "Minimum track record",
            f"for 95% confidence that it is above zero; this one has {ratio(found.years, 1)}",
            years_or_never(found.track_record),
        ),
    ]
    if found.trials is not None and found.deflated is not None and found.chance is not None:
        tried = f"{ratio(found.trials, 0)} variants"
        rows += [
            ("Chance alone", f"expected best of {tried} without skill", ratio(found.chance)),
            ("Deflated Sharpe ratio", f"probability of skill, given {tried}", percent(found.deflated)),
        ]
    if found.backtest is not None:
        rows.append(
            (
                "Minimum backtest length",
                f"below it {ratio(found.trials, 0)} variants without skill are expected to show this ratio",
                years_or_never(found.backtest),
            )
        )
    return facts_table(rows)


def years_or_never(years: float) -> str:
    """Return a length in years; one that nobody lives to see is `never` or `over 100 years`."""
    if years > _LONG:
        return "never" if math.isinf(years) else f"over {_LONG:.0f} years"
    return f"{ratio(years, 1)} years"


def timing(report: ReportData) -> Markup:
    """Return what is left beyond as much of the instrument, held all the time."""
    found = believed.timing(report)
    if found is None:
        return empty_block("Nothing is left: the instrument was only held, or too few returns are known.")
    return facts_table(
        [
            (
                "Mean exposure",
                "position over capital at the close, signed",
                percent(found.exposure),
            ),
            (
                "Timing Sharpe ratio",
                f"without what that much of {report.symbol}, held all the time, would have earned",
                ratio(found.sharpe),
            ),
            (f"Sharpe ratio of {report.symbol}", "held", ratio(found.held)),
            (
                "Probability of timing",
                "that the true timing ratio is above zero, error over blocks",
                percent(found.above_zero),
            ),
            (
                "How often luck does as well",
                f"p-value of the superior predictive ability, blocks of {found.block} {report.period}s",
                percent(found.p_value),
            ),
        ]
    )


def other_orders(report: ReportData) -> Markup:
    """Return how deep other orders of the same trades would have fallen, and what such trades add up to."""
    found = believed.orders(report)
    if found is None:
        return empty_block("Fewer than three trades were closed.")
    return orders_table(found)


def orders_table(found: believed.OtherOrders) -> Markup:
    """Return drawdowns and results of trades in other orders, a row each."""
    shuffled, drawn = found.shuffled, found.drawn
    head = ("", "Median", "1 in 20", "1 in 100", "This order", "Worse")
    low = [drawn.profit_quantile(level) for level in (0.5, 0.05, 0.01)]
    rows = [
        (
            "Drawdown, the same trades shuffled",
            *(usd(-shuffled.drawdown_quantile(level)) for level in (0.5, 0.95, 0.99)),
            usd(-shuffled.drawdown),
            percent(shuffled.worse),
        ),
        (
            "Drawdown, as many drawn from them",
            *(usd(-drawn.drawdown_quantile(level)) for level in (0.5, 0.95, 0.99)),
            usd(-drawn.drawdown),
            percent(drawn.worse),
        ),
        (
            "Net P&L, as many drawn from them",
            *(coloured(usd(value)) for value in low),
            coloured(usd(drawn.profit)),
            f"{percent(drawn.lost)} lose",
        ),
    ]
    return table(head, rows)


def benchmark(report: ReportData) -> Markup:
    """Return beta, alpha, correlation and information ratio, and the same ratios of the benchmark."""
    pair = track_record.against(report)
    if pair is None:
        return empty_block("No benchmark shares three dates with this report.")
    per_year = report.scale.periods_per_year
    found = metrics.relative(pair.returns, pair.benchmark, per_year)
    level = np.concatenate(([1.0], np.cumprod(1.0 + pair.benchmark)))
    years = metrics.calendar_years(pair.dates, report.scale.nominal)
    return facts_table(
        [
            ("Beta", "slope of the returns on the benchmark's", ratio(found.beta)),
            ("Alpha", "per year, what beta does not explain", signed(found.alpha)),
            ("Correlation", "", ratio(found.correlation)),
            (
                "Information ratio",
                f"mean excess / its deviation, {percent(found.tracking_error)} a year",
                ratio(found.information_ratio),
            ),
            (
                "Benchmark's CAGR",
                f"volatility {percent(metrics.volatility(pair.benchmark, per_year))}",
                signed(metrics.cagr(level, per_year, years=years)),
            ),
            (
                "Benchmark's Sharpe",
                f"deepest drawdown {percent(float(metrics.drawdown_fractions(level).max()))}",
                ratio(metrics.sharpe(pair.benchmark, per_year)),
            ),
        ]
    )


def trailing(report: ReportData) -> Markup:
    """Return month, quarter and year to date, and the last years."""
    rows = track_record.trailing(report)
    has_benchmark = any(math.isfinite(row.benchmark) for row in rows)
    beside = ("Benchmark",) if has_benchmark else ()
    head = (
        "Period",
        "From",
        "Return",
        "Per year",
        "Max drawdown",
        *beside,
    )
    cells = [
        (
            row.name,
            str(row.first + np.timedelta64(1, "D")),
            signed(row.total),
            signed(row.yearly),
            percent(row.drawdown),
            *((signed(row.benchmark),) if has_benchmark else ()),
        )
        for row in rows
    ]
    return table(head, cells)


def crises(report: ReportData) -> Markup:
    """Return the known crises within the report."""
    rows = track_record.episodes(report)
    if not rows:
        return empty_block("None of the listed episodes falls within these dates.")
    has_benchmark = any(math.isfinite(row.benchmark) for row in rows)
    beside = ("Benchmark",) if has_benchmark else ()
    head = ("Episode", "From", "To", "Return", "Max drawdown", *beside)
    cells = [
        (
            row.name,
            str(row.first),
            str(row.last),
            signed(row.total),
            percent(row.drawdown),
            *((signed(row.benchmark),) if has_benchmark else ()),
        )
        for row in rows
    ]
    return table(head, cells)


def declines(report: ReportData) -> Markup:
    """Return the ten deepest drawdowns with their dates."""
    rows = track_record.declines(report)
    if not rows:
        return empty_block("Equity never fell below a former high.")
    head = ["Depth", "Of peak", "Peak", "Trough", "Recovered", "Days down", "Days in all"]
    if report.compounded:
        head = ["Depth", *head[2:]]
    cells = [
        (
            *([] if report.compounded else [usd(-row.depth)]),
            percent(-row.fraction if report.compounded else row.fraction),
            str(row.peak),
            str(row.trough),
            "not yet" if row.recovered is None else str(row.recovered),
            count(row.days_down),
            count(row.days),
        )
        for row in rows
    ]
    return table(head, cells)


def quantiles(report: ReportData) -> Markup:
    """Return the distribution of returns by day, week, month, quarter and year."""
    head = ("", "Worst", "5%", "25%", "Median", "75%", "95%", "Best", "Above zero")
    cells = [
        (
            joined(row.name, " ", small(count(row.count))),
            *(signed(value) for value in row.values),
            percent(row.positive, 0),
        )
        for row in track_record.quantiles(report)
    ]
    return table(head, cells)


def runs(report: ReportData) -> Markup:
    """Return winning months, sessions and trades, and their longest runs."""
    head = ("", "Won", "Average gain", "Average loss", "Longest run won", "Lost")
    cells = [
        (
            joined(row.name, " ", small(count(row.count))),
            percent(row.won),
            signed(row.average_gain, 2),
            signed(row.average_loss, 2),
            count(row.longest_won),
            count(row.longest_lost),
        )
        for row in track_record.runs(report)
    ]
    return table(head, cells)


def samples(report: ReportData) -> Markup:
    """Return in-sample beside out-of-sample."""
    head = ("", "Sessions", "Return", "Sharpe", "Volatility", "Max drawdown")
    cells = [
        (
            row.name,
            count(row.sessions),
            signed(row.total),
            ratio(row.sharpe),
            percent(row.volatility),
            percent(row.drawdown),
        )
        for row in track_record.samples(report)
    ]
    return table(head, cells)


def sides(report: ReportData) -> Markup:
    """Return long beside short."""
    rows = trade_tables.sides(report)
    if not rows:
        return empty_block("No trade was closed in this run.")
    head = ("", "Trades", "Net P&L", "Win rate", "Profit factor", "Per trade", "Held", "Exposure")
    cells = [
        (
            row.name,
            count(row.trades),
            coloured(usd(row.net_profit)),
            percent(row.win_rate),
            ratio(row.profit_factor),
            usd(row.expectancy),
            f"{ratio(row.average_bars, 1)} {held_unit(report)}",
            percent(row.exposure),
        )
        for row in rows
    ]
    return table(head, cells)


def dearer(report: ReportData) -> Markup:
    """Return the result at other costs."""
    rows = trade_tables.dearer(report)
    if not rows:
        return empty_block("No costs were paid.")
    head = ("Costs", "Paid", "Net P&L", "Per year", "Sharpe", "Profit factor", "Max drawdown")
    cells = [
        (
            f"{row.factor:g} {TIMES}" if row.factor else "none",
            usd(row.paid),
            coloured(usd(row.net_profit)),
            signed(row.annual_return),
            ratio(row.sharpe),
            ratio(row.profit_factor),
            usd(-row.max_drawdown),
        )
        for row in rows
    ]
    return table(head, cells)
