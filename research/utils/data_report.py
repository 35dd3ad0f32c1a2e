"""The report on a data file: counts of rows, and what in the bars is suspicious."""

from __future__ import annotations

from pathlib import Path

from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.files import Loaded
from lockstep.market.quality import QualityReport, assess
from lockstep.market.ticks import Ticks
from lockstep.market.timeframe import Timeframe
from lockstep.tables import TextTable, number, prose
from research.utils.data_loader import in_timeframe, load_file


def check_file(
    symbol: str,
    data_dir: Path | None = None,
    *,
    timeframe: Timeframe | None = None,
    quarantine: bool = False,
    source: str | None = None,
) -> tuple[Loaded[Bars] | Loaded[Ticks], QualityReport]:
    """Read the file that `load_bars` would use and assess its bars; raises what `load_bars` raises."""
    book = load_instruments()
    loaded = load_file(symbol, data_dir, timeframe=timeframe, quarantine=quarantine, book=book, source=source)
    session = book.session_named(loaded.source.session)
    return loaded, assess(in_timeframe(loaded, timeframe, session), session)


def rows_table(loaded: Loaded[Bars] | Loaded[Ticks]) -> TextTable:
    """Return the counts of a file's rows, and what is declared about it."""
    source = loaded.source
    table = TextTable("", prose(""), title=loaded.data.source, head=False)
    table.add_row("source", f"{source.name}: {source.spelled_timeframe}, stamps mean {source.stamp}")
    table.add_row("session, adjustment", f"{source.session}, {source.adjustment}")
    table.add_row("rows", f"{loaded.rows:,}")
    table.add_row("good", f"{len(loaded.data):,}")
    table.add_row("rejected", f"{len(loaded.rejected):,}")
    if loaded.rejected_path is not None:
        table.add_row("written to", str(loaded.rejected_path))
    return table


def quality_table(report: QualityReport) -> TextTable:
    """Return the findings of a report, or that there are none."""
    title = f"{report.symbol} {report.timeframe}: {report.bars:,} bars, {report.first} to {report.last}"
    table = TextTable("finding", prose("where"), number("count"), prose("what it is"), title=title)
    for finding in report.findings:
        table.add_row(finding.kind, finding.where, f"{finding.count:,}", finding.sentence)
    if not report.findings:
        table.add_row("none", "", "", "nothing suspicious")
    return table
