"""Tables about specs: the ids that one reads, how often its conditions hold, where two of them differ."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lockstep.tables import TextTable, number, prose
from research.specs.check import ReadId
from research.specs.differences import SignalDifference, SpecDifference
from research.specs.explain import Explanation
from research.specs.occurrence import Frequencies
from research.specs.rows import TrainingRows


def ids_table(ids: Sequence[ReadId]) -> TextTable:
    """Return the ids of a spec: declared range, values seen, how much is missing."""
    table = TextTable("id", number("range"), number("least"), number("most"), "first", number("missing"))
    for each in ids:
        table.add_row(
            each.id, f"{_bound(each.low)} to {_bound(each.high)}", f"{each.least:.4g}",
            f"{each.greatest:.4g}", str(each.first or "none"), f"{each.missing:.1%}",
        )  # fmt: skip
    return table


def _bound(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "∞" if value > 0 else "-∞"


def frequency_rows(found: Frequencies) -> list[tuple[str, ...]]:
    """Return a row of FREQUENCY_HEAD for each condition, then for what is done while flat."""
    table: list[tuple[str, ...]] = []
    told = ""
    for each in found.occurrences:
        name = "" if each.part == told else each.part
        told = each.part
        days = (str(each.first or ""), str(each.last or ""))
        share = f"{each.share:.1%}" if each.judged else ""
        text = "  " * each.line.depth + each.line.text
        table.append((name, text, f"{each.true:,}", f"{each.judged:,}", share, *days))
    decisions = found.decisions
    counted = {
        "long": decisions.entries("long_entry"),
        "short": decisions.entries("short_entry"),
        "neither: both are true": decisions.ambiguous,
    }
    for name, rows in counted.items():
        if rows.size or f"{name}_entry" in {each.part for each in found.occurrences}:
            table.append(("while flat", f"enters {name}" if name in ("long", "short") else name,
                          *_counted(rows, found.rows)))  # fmt: skip
    return table


def _counted(found: NDArray[np.int64], rows: TrainingRows) -> tuple[str, ...]:
    days = (str(rows.day(found[0])), str(rows.day(found[-1]))) if found.size else ("", "")
    return (f"{found.size:,}", f"{len(rows):,}", f"{found.size / len(rows):.1%}", *days)


def meanings_table(found: Explanation) -> TextTable:
    """Return what the values of each id are."""
    table = TextTable("id", prose("what it is"))
    for name, text in found.meanings:
        table.add_row(name, text)
    return table


FREQUENCY_HEAD = ("part", "condition", "bars", "of", "share", "first", "last")


def frequency_table(found: Frequencies) -> TextTable:
    """Return how often every condition of a spec holds."""
    part, condition, bars, judged, share, first, last = FREQUENCY_HEAD
    table = TextTable(part, condition, number(bars), number(judged), number(share), first, last)
    for row in frequency_rows(found):
        table.add_row(*row)
    return table


def fields_table(found: SpecDifference) -> TextTable:
    """Return the fields that two specs give differently."""
    table = TextTable("field", prose("first"), prose("second"))
    for each in found.fields:
        table.add_row(each.field, each.first, each.second)
    return table


def signals_table(signals: Sequence[SignalDifference]) -> TextTable:
    """Return on how many training bars each signal of two specs is true, and on how many they differ."""
    table = TextTable("signal", number("first"), number("second"), number("bars that differ"), "from")
    for each in signals:
        table.add_row(
            each.signal, f"{each.first:,}", f"{each.second:,}", f"{each.differ:,}", str(each.first_day or "")
        )
    return table
