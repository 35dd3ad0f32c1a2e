"""The feature check as tables for the terminal."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from research.report.numbers import UNDEFINED, count, price, ratio
from research.validation.feature_comparison import FeatureComparison

LISTED = 45
_DIGITS = 4
NOT_EQUAL = "\N{NOT EQUAL TO}"


def values_table(check: FeatureComparison) -> Table:
    """Return the bars of the month with our values; `≠` and the other value where they do not agree."""
    symbol = check.market.instrument.symbol
    table = Table(
        title=f"{symbol} {check.timeframe}, {check.month}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("bar", no_wrap=True)
    for name in ("open", "high", "low", "close", "volume", *check.ids):
        table.add_column(name, justify="right", overflow="fold")
    for row in range(min(LISTED, len(check.labels))):
        prices = check.bars.iloc[row]
        table.add_row(
            check.labels[row],
            *(price(float(prices[name])) for name in ("open", "high", "low", "close")),
            count(float(prices["volume"])),
            *(spelled(check, row, column) for column in range(len(check.ids))),
        )
    if len(check.labels) > LISTED:
        table.caption = f"the first {LISTED} of {len(check.labels):,} bars; the plot has all"
    return table


def spelled(check: FeatureComparison, row: int, column: int) -> str:
    """Return our value, and the other one where it is out of tolerance or the only one."""
    ours, theirs = float(check.ours.iat[row, column]), float(check.theirs.iat[row, column])
    if check.is_outside.iat[row, column] or not check.compared.iat[row, column]:
        text = f"{ratio(ours, _DIGITS)} {NOT_EQUAL} {ratio(theirs, _DIGITS)}"
        return UNDEFINED if text == f"{UNDEFINED} {NOT_EQUAL} {UNDEFINED}" else text
    return ratio(ours, _DIGITS)


def counts_table(check: FeatureComparison) -> Table:
    """Return, per feature, how many bars were compared, are out of tolerance, or miss a value."""
    table = Table(title=f"against {check.against}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("feature", no_wrap=True)
    for name in ("bars", "compared", "out of tolerance", "missing here", "missing there"):
        table.add_column(name, justify="right")
    for feature, counts in check.counts.iterrows():
        table.add_row(str(feature), *(count(int(value)) for value in counts))
    return table


def outside_table(check: FeatureComparison) -> Table:
    """Return the values that do not agree."""
    table = Table(title="out of tolerance", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in check.outside.columns:
        table.add_column(str(name), justify="left" if name in ("bar", "feature") else "right", no_wrap=True)
    for bar, feature, *values in check.outside.head(LISTED).itertuples(index=False):
        table.add_row(bar, feature, *(ratio(value, _DIGITS) for value in values))
    if len(check.outside) > LISTED:
        table.caption = f"the first {LISTED} of {len(check.outside):,}"
    return table


def print_check(console: Console, check: FeatureComparison, page: Path) -> None:
    """Print the bars with their values, the counts, what does not agree, and the verdict."""
    console.print(values_table(check))
    console.print(counts_table(check))
    if len(check.outside):
        console.print(outside_table(check))
    console.print(f"plot: {page}", soft_wrap=True, highlight=False)
    console.print(check.verdict, style="bold", soft_wrap=True, highlight=False)
