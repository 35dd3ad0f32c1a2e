"""The report on a data file: counts of rows, and what in the bars is suspicious."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from lockstep.errors import DataError
from lockstep.files import replace_file
from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.loader import in_timeframe, load_bars, load_file
from lockstep.market.quality import QualityReport, assess
from lockstep.market.quality.agreement import Agreement, agreement
from lockstep.market.quality.finding import Finding
from lockstep.market.reading.files import Loaded
from lockstep.market.sessions import Session
from lockstep.market.ticks import Ticks
from lockstep.market.timeframe import Timeframe
from lockstep.tables import TextTable, number, prose

SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """A data file as it was read, its bars, and what is suspicious in them."""

    loaded: Loaded[Bars] | Loaded[Ticks]
    bars: Bars
    session: Session
    report: QualityReport

    @classmethod
    def of(
        cls,
        symbol: str,
        data_dir: Path | None = None,
        *,
        timeframe: Timeframe | None = None,
        quarantine: bool = False,
        source: str | None = None,
    ) -> Self:
        """Read the file that `load_bars` would use and assess its bars; raises what `load_bars` raises."""
        book = load_instruments()
        loaded = load_file(
            symbol, data_dir, timeframe=timeframe, quarantine=quarantine, book=book, source=source
        )
        session = book.session_named(loaded.source.session)
        bars = in_timeframe(loaded, timeframe, session)
        report = assess(bars, session, book.instrument(symbol))
        return cls(loaded=loaded, bars=bars, session=session, report=report)

    def against(self, source: str, data_dir: Path | None) -> Agreement:
        """Compare the bars with those of another source; DataError where there is nothing to compare."""
        book, symbol = load_instruments(), self.report.symbol
        other = load_bars(
            symbol, data_dir, timeframe=self.bars.timeframe, start="0001-01-01", book=book, source=source
        )
        tick = book.instrument(symbol).tick_size
        return agreement(self.bars, other, self.session, tick, name=source)

    @property
    def said(self) -> str:
        """The file and what is declared about it."""
        source = self.loaded.source
        return f"{Path(self.loaded.data.source).name}, source {source.name}, adjustment {source.adjustment}"

    @property
    def troubles(self) -> list[str]:
        """What is wrong with the file as a whole."""
        rejected = len(self.loaded.rejected)
        counts = f"{rejected:,} of {self.loaded.rows:,} rows were rejected; the bars are without them."
        return [*([counts] if rejected else []), *self.loaded.findings]


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
    for finding in loaded.findings:
        table.add_row("the file", finding)
    return table


def warnings_of(loaded: Loaded[Bars] | Loaded[Ticks], report: QualityReport) -> int:
    """Return how many things may make results wrong: rejected rows, findings of the file and in the bars."""
    return report.warnings + len(loaded.findings) + bool(loaded.rejected)


def write_report(
    path: Path,
    loaded: Loaded[Bars] | Loaded[Ticks],
    report: QualityReport,
    revised: Finding | None = None,
    compared: Agreement | None = None,
) -> None:
    """Write the report as JSON, whole or not at all; DataError where it cannot be written.

    revised   what changed since the series was checked before; compared   with another source
    """
    content = {
        "schema": SCHEMA,
        "symbol": report.symbol,
        "timeframe": report.timeframe,
        "file": Path(loaded.data.source).name,
        "source": loaded.source.name,
        "session": loaded.source.session,
        "rows": loaded.rows,
        "rejected": len(loaded.rejected),
        "bars": report.bars,
        "first": report.first,
        "last": report.last,
        "sessions": report.sessions,
        "score": report.score,
        "stale_open_share": None if math.isnan(report.stale_open_share) else report.stale_open_share,
        "warnings": warnings_of(loaded, report),
        "file_findings": list(loaded.findings),
        "findings": [_entry(each) for each in report.findings],
        "revised": None if revised is None else _entry(revised),
        "against": None if compared is None else _agreement(compared),
    }
    replace_file(path, json.dumps(content, indent=2, allow_nan=False) + "\n", error=DataError)


def _entry(finding: Finding) -> dict[str, Any]:
    spans = [[f"{np.datetime64(stamp, 'ns').astype('M8[s]')}Z" for stamp in span] for span in finding.spans]
    return asdict(finding) | {"spans": spans}


def _agreement(compared: Agreement) -> dict[str, Any]:
    return asdict(compared) | {"findings": [_entry(each) for each in compared.findings]}


def agreement_lines(compared: Agreement) -> str:
    """Return how two sources agree, a line for what is to be said and one for each finding."""
    return "\n".join(
        [compared.sentence, *(f"  {each.severity}: {each.sentence}" for each in compared.findings)]
    )


def quality_table(report: QualityReport) -> TextTable:
    """Return the findings of a report, or that there are none."""
    title = (
        f"{report.symbol} {report.timeframe}: {report.bars:,} bars, {report.first} to {report.last}\n"
        f"quality {report.shown_score} of 100"
    )
    table = TextTable("finding", "", number("count"), prose("what it is"), title=title)
    for finding in report.findings:
        table.add_row(finding.kind, finding.severity, f"{finding.count:,}", finding.sentence)
    if not report.findings:
        table.add_row("none", "", "", "nothing suspicious")
    return table
