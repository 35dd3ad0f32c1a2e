"""The numbers of a report as a document: what is said of them, in which order, and how each is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lockstep.metrics import Floats
from operations.reports.account import ROLLING_MONTHS, AccountNumbers, ExtremePeriod
from operations.reports.blocks import Block, ChartBlock, ChartLine, ReportDocument, ReportPart, TableBlock
from operations.reports.desk_content import desk_parts
from operations.reports.numbers import ReportNumbers
from research.report.measures import GROUPS
from research.report.page import Tile, count, percent, ratio, usd
from research.report.tables import readable
from research.report.thinning import thin

_POINTS = 600
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_QUANTILES = ("Worst", "5%", "25%", "Median", "75%", "95%", "Best")


def report_document(numbers: ReportNumbers) -> ReportDocument:
    """Return the document of a report's numbers."""
    account, dates = numbers.account, numbers.account.dates
    facts = (
        f"{count(dates.size)} sessions, {dates[0]} to {dates[-1]}",
        f"capital {usd(numbers.capital)}",
        numbers.source,
    )
    parts = [*_account_parts(account), *(desk_parts(numbers.desk) if numbers.desk is not None else ())]
    rows = tuple((name, value) for name, value in numbers.provenance.items())
    table = TableBlock(head=("", "value"), rows=rows, prose=frozenset((1,)))
    parts.append(ReportPart(title="Where these numbers come from", blocks=(table,)))
    return ReportDocument(
        title=numbers.title,
        subtitle=f"Report of {month_words(numbers.month)}",
        lead=f"{numbers.symbol}, {numbers.mode}",
        facts=facts,
        caveats=_caveats(numbers),
        tiles=tuple(_tiles(numbers)),
        parts=tuple(parts),
    )


def month_words(month: np.datetime64) -> str:
    """Return a month in words.

    >>> month_words(np.datetime64("2026-03"))
    'March 2026'
    """
    return f"{pd.Timestamp(month.astype('datetime64[D]')):%B %Y}"


def _caveats(numbers: ReportNumbers) -> tuple[str, ...]:
    watched = () if numbers.desk is None or not numbers.desk.watched else (numbers.desk.watched,)
    return (*watched, *numbers.notes)


def _tiles(numbers: ReportNumbers) -> Iterator[Tile]:
    month, whole, costs = numbers.account.month, numbers.account.whole, numbers.account.costs["month"]
    for name, value, write, note in (
        ("Profit of the month", month["net_profit"], usd, f"{percent(month['total_return'], 2)} of capital"),
        ("Profit so far", whole["net_profit"], usd, f"{percent(whole['total_return'])} of capital"),
        ("CAGR", whole["cagr"], percent, f"volatility {percent(whole['volatility'])}"),
        ("Sharpe", whole["sharpe"], ratio, f"Sortino {ratio(whole['sortino'])}"),
        ("Max drawdown", -whole["max_drawdown"], usd, f"{percent(whole['max_drawdown_fraction'])} of a peak"),
        ("Trades of the month", month["trades"], count, f"{percent(month['win_rate'])} won"),
        ("Trades so far", whole["trades"], count, f"{percent(whole['win_rate'])} won"),
        ("Worst session of the month", month["worst_session"], _fine, f"best {_fine(month['best_session'])}"),
        ("Costs of the month", costs.paid, usd, f"trades that ended: {count(costs.trades)}"),
        ("Profit factor", whole["profit_factor"], ratio, f"{usd(whole['expectancy'])} per trade"),
    ):  # fmt: skip
        yield Tile(name, write(value), note, is_loss=value < 0)


def _fine(value: float | int | None) -> str:
    return percent(value, 2)


def _account_parts(account: AccountNumbers) -> Iterator[ReportPart]:
    yield ReportPart(
        title="Profit so far",
        caption="Per cent of capital at the end of each session, costs included. Sizes follow constant "
        f"capital, so that returns add up. {_beside_words(account)}",
        blocks=(_curves(account),),
    )
    yield ReportPart(
        title="Drawdown",
        caption="Fall below the highest profit so far, per cent of capital.",
        blocks=(_line("drawdown", account, {"Drawdown": account.fall}, percent_of=True),),
    )
    yield ReportPart(
        title="Key measures",
        caption="Of the month, and of all sessions up to its end.",
        blocks=(_measures(account),),
    )
    yield ReportPart(
        title="Months",
        caption="Return of each month, per cent of capital.",
        blocks=(_months(account),),
    )
    bars = (_year_bars(account),) if len(account.years) > 1 else ()
    yield ReportPart(title="Years", caption=_beside_words(account), blocks=(*bars, _years(account)))
    yield ReportPart(title="Trailing periods", blocks=(_trailing(account),))
    yield ReportPart(
        title=f"Rolling {ROLLING_MONTHS} months",
        caption=f"Measures of the last {ROLLING_MONTHS} months at every session.",
        blocks=tuple(_rolling(account)),
    )
    yield ReportPart(
        title="Drawdowns",
        caption="The ten deepest, by days of the calendar.",
        blocks=(_declines(account),),
    )
    yield ReportPart(title="Worst and best periods", blocks=(_extremes(account),))
    yield ReportPart(
        title="Distribution of returns",
        caption=f"Sessions by their return, per cent of capital. Skew {ratio(account.whole['skew'])}, "
        f"kurtosis {ratio(account.whole['kurtosis'])} (normal: 3).",
        blocks=(_histogram(account), _quantiles(account)),
    )
    yield ReportPart(
        title="Against the benchmark", caption=_beside_words(account), blocks=(_relative(account),)
    )
    yield ReportPart(title="Trades", caption=_trades_words(account), blocks=(_trades(account),))
    yield ReportPart(
        title="Costs",
        caption="Of trades by when they ended. Slippage is what the cost model takes, within the prices.",
        blocks=(_costs(account),),
    )


def _beside_words(account: AccountNumbers) -> str:
    if not account.benchmark:
        return "There is no benchmark: a price of it is not positive."
    return f"Benchmark: {account.benchmark}, unlevered and without costs."


def _curves(account: AccountNumbers) -> ChartBlock:
    lines = {"Account": account.profit}
    if account.beside.size:
        lines[account.benchmark] = account.beside
    return _line("profit", account, lines, percent_of=True)


def _line(
    name: str, account: AccountNumbers, lines: dict[str, Floats], *, percent_of: bool = False, empty: str = ""
) -> ChartBlock:
    """Return lines over the sessions, thinned to what a page can show; extremes of the first are kept."""
    kept = thin(next(iter(lines.values())), _POINTS)
    return ChartBlock(
        name=name,
        kind="line",
        places=[str(each) for each in account.dates[kept]],
        lines=[ChartLine(name=each, values=_known(values[kept])) for each, values in lines.items()],
        percent=percent_of,
        empty=empty or "One session is no line.",
    )


def _known(values: Floats) -> list[float | None]:
    return [round(value, 6) if math.isfinite(value) else None for value in values.tolist()]


def _measures(account: AccountNumbers) -> TableBlock:
    rows = [
        (
            each.label,
            each.write(account.month.get(each.key)),
            each.write(account.whole.get(each.key)),
            each.note,
        )
        for _, group in GROUPS
        for each in group
    ]
    return TableBlock(head=("", "Month", "So far", ""), rows=rows, prose=frozenset((3,)))


def _months(account: AccountNumbers) -> TableBlock:
    rows = [
        (str(year), *(_points(value) for value in row), _points(float(np.nansum(row))))
        for year, row in zip(account.months.index, account.months.to_numpy(), strict=True)
    ]
    return TableBlock(head=("", *_MONTHS, "Year"), rows=rows[::-1])


def _points(value: float) -> str:
    return ratio(100 * value, 1) if math.isfinite(value) else ""


def _year_bars(account: AccountNumbers) -> ChartBlock:
    lines = [ChartLine(name="Account", values=[round(each.annual_return, 6) for each in account.years])]
    if account.benchmark:
        beside = np.array([each.benchmark for each in account.years], dtype=np.float64)
        lines.append(ChartLine(name=account.benchmark, values=_known(beside)))
    return ChartBlock(
        name="years", kind="bar", places=[str(each.year) for each in account.years], lines=lines,
        percent=True, empty="No return is known.",
    )  # fmt: skip


def _years(account: AccountNumbers) -> TableBlock:
    rows = [
        (
            str(each.year), usd(each.net_profit), percent(each.annual_return), percent(each.benchmark),
            usd(-each.max_drawdown), ratio(each.sharpe), count(each.trades), percent(each.win_rate),
        )
        for each in reversed(account.years)
    ]  # fmt: skip
    head = ("Year", "Net P&L", "Return", "Benchmark", "Max drawdown", "Sharpe", "Trades", "Won")
    return TableBlock(head=head, rows=rows)


def _trailing(account: AccountNumbers) -> TableBlock:
    rows = [
        (
            each.name, str(each.first + np.timedelta64(1, "D")), percent(each.total, 2), percent(each.yearly),
            percent(each.drawdown), percent(each.benchmark),
        )
        for each in account.trailing
    ]  # fmt: skip
    return TableBlock(head=("", "From", "Return", "Per year", "Max drawdown", "Benchmark"), rows=rows)


def _rolling(account: AccountNumbers) -> Iterator[Block]:
    writes: dict[str, Callable[[float | None], str]] = {"Volatility": percent}
    rows = [(each.name, *map(writes.get(each.name, ratio), each.values)) for each in account.rolling]
    yield TableBlock(head=("", "Newest", "Least", "Median", "Greatest"), rows=rows)
    for name, values in account.rolling_curves.items():
        key = f"rolling-{name.split()[0].lower()}"
        empty = f"{name}: there are not {ROLLING_MONTHS} months yet."
        yield _line(key, account, {name: values}, percent_of=name == "Volatility", empty=empty)


def _declines(account: AccountNumbers) -> TableBlock:
    rows = [
        (
            str(at), usd(-each.depth), percent(each.fraction), str(each.peak), str(each.trough),
            "not yet" if each.recovered is None else str(each.recovered), count(each.days_down),
            count(each.days),
        )
        for at, each in enumerate(account.declines, 1)
    ]  # fmt: skip
    head = ("", "Depth", "Of peak", "Start", "Valley", "End", "Days down", "Days in all")
    return TableBlock(head=head, rows=rows, empty="Equity never fell below a former high.")


def _extremes(account: AccountNumbers) -> TableBlock:
    def cells(each: ExtremePeriod) -> tuple[str, str]:
        first = str(each.first.astype("datetime64[M]")) if each.unit == "Month" else str(each.first)
        return first, percent(each.change, 2)

    rows = [
        (worst.unit, *cells(worst), *cells(best))
        for worst, best in zip(account.worst, account.best, strict=True)
    ]
    return TableBlock(head=("", "Worst", "Return", "Best", "Return"), rows=rows)


def _histogram(account: AccountNumbers) -> ChartBlock:
    edges, counts = account.histogram
    middles = (edges[:-1] + edges[1:]) / 2
    return ChartBlock(
        name="distribution",
        kind="bar",
        places=[percent(value, 2) for value in middles.tolist()],
        lines=[ChartLine(name="Sessions", values=counts.tolist())],
        empty="Returns do not vary.",
    )


def _quantiles(account: AccountNumbers) -> TableBlock:
    rows = [
        (
            each.name,
            count(each.count),
            *(percent(value, 2) for value in each.values),
            percent(each.positive, 0),
        )
        for each in account.quantiles
    ]
    return TableBlock(head=("", "Count", *_QUANTILES, "Above zero"), rows=rows)


def _relative(account: AccountNumbers) -> TableBlock:
    found = account.relative
    rows: Sequence[Sequence[str]] = ()
    if found is not None:
        rows = (
            ("Beta", ratio(found.beta), "slope of the returns on the benchmark's"),
            ("Alpha", percent(found.alpha), "per year, what beta does not explain"),
            ("Correlation", ratio(found.correlation), ""),
            ("Tracking error", percent(found.tracking_error), "per year"),
            ("Information ratio", ratio(found.information_ratio), "mean excess / its deviation, annualised"),
        )
    empty = "No benchmark shares three sessions with this account."
    return TableBlock(head=("", "So far", ""), rows=rows, prose=frozenset((2,)), empty=empty)


def _trades_words(account: AccountNumbers) -> str:
    if not account.left_out:
        return "All trades, the newest first."
    return (
        f"The newest {count(len(account.trades))} trades; {count(account.left_out)} older ones are left out."
    )


def _trades(account: AccountNumbers) -> TableBlock:
    rows = [_trade(row) for row in account.trades.to_dict("records")]
    head = ("", "Side", "Size", "Entry", "Price", "Exit", "Price", "Reason", "Net P&L")
    return TableBlock(head=head, rows=rows, empty="There was no trade.")


def _trade(row: Mapping[Hashable, Any]) -> tuple[str, ...]:
    is_open = row["status"] == "open"
    return (
        str(row.get("symbol", "")), "long" if row["side"] > 0 else "short", f"{row['quantity']:,.10g}",
        f"{row['entry_end']:%Y-%m-%d}", f"{row['entry_price']:,.2f}",
        "open" if is_open else f"{row['exit_end']:%Y-%m-%d}",
        "" if is_open else f"{row['exit_price']:,.2f}",
        readable(str(row["exit_reason"])) if row["exit_reason"] else "", usd(row["net_pnl"]),
    )  # fmt: skip


def _costs(account: AccountNumbers) -> TableBlock:
    rows = [
        (name, count(each.trades), *(usd(cost, 2) for cost in (each.commission, each.slippage, each.paid)))
        for name, each in (("Month", account.costs["month"]), ("So far", account.costs["whole"]))
    ]
    return TableBlock(head=("", "Trades", "Commission", "Slippage, modelled", "Together"), rows=rows)
