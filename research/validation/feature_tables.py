"""The feature check as tables for the terminal."""

from __future__ import annotations

import math
from pathlib import Path

from rich.console import Console

from lockstep.market.bars import BAR_COLUMNS
from lockstep.tables import TextTable, number
from research.report.numbers import UNDEFINED, count, ratio
from research.validation.feature_comparison import FeatureComparison

LISTED = 45
_DIGITS = 4
NOT_EQUAL = "\N{NOT EQUAL TO}"


def values_table(check: FeatureComparison) -> TextTable:
    """Return the bars of the month with our values; `≠` and the other value where they do not agree."""
    title = f"{check.market.instrument.symbol} {check.timeframe}, {check.month}"
    table = TextTable("bar", *map(number, (*BAR_COLUMNS, *check.ids)), title=title, bands=True)
    bars = check.bars[list(BAR_COLUMNS)].to_numpy()
    for row in range(min(LISTED, len(check.labels))):
        *prices, volume = bars[row].tolist()
        table.add_row(
            check.labels[row],
            *(UNDEFINED if math.isnan(each) else f"{each:.10g}" for each in prices),
            _short(volume),
            *(spelled(check, row, column) for column in range(len(check.ids))),
        )
    if len(check.labels) > LISTED:
        table.caption = f"the first {LISTED} of {len(check.labels):,} bars; the plot has all"
    return table


def _short(volume: float) -> str:
    """Return a volume as `1.91M`, so that a row fits into a terminal."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if volume >= size:
            return f"{volume / size:.2f}{unit}"
    return UNDEFINED if math.isnan(volume) else f"{volume:g}"


def spelled(check: FeatureComparison, row: int, column: int) -> str:
    """Return our value, and the other one where it is out of tolerance or the only one."""
    ours, theirs = (float(frame.to_numpy()[row, column]) for frame in (check.ours, check.theirs))
    if check.is_outside.iloc[row, column] or not check.compared.iloc[row, column]:
        text = f"{ratio(ours, _DIGITS)} {NOT_EQUAL} {ratio(theirs, _DIGITS)}"
        return UNDEFINED if text == f"{UNDEFINED} {NOT_EQUAL} {UNDEFINED}" else text
    return ratio(ours, _DIGITS)


def counts_table(check: FeatureComparison) -> TextTable:
    """Return, per feature, how many bars were compared, are out of tolerance, or miss a value."""
    names = ("bars", "compared", "out of tolerance", "missing here", "missing there")
    table = TextTable("feature", *map(number, names), title=f"against {check.against}")
    for feature, counts in check.counts.iterrows():
        table.add_row(str(feature), *(count(int(value)) for value in counts))
    return table


def outside_table(check: FeatureComparison) -> TextTable:
    """Return the values that do not agree."""
    names = map(str, check.outside.columns[2:])
    table = TextTable("bar", "feature", *map(number, names), title="out of tolerance")
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
