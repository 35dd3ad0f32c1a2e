"""The history of checks: scores over time, and whether bars that were there have been revised since."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from lockstep.identity import json_text
from lockstep.market.bars import Bars
from lockstep.market.quality import QualityReport
from lockstep.market.quality.finding import Finding
from lockstep.market.quality.revision import HistoryDigest, revision
from lockstep.market.sessions import Session
from research.ledger.chain import append, table_of
from research.ledger.ledger import Ledger
from research.ledger.quality_tables import QualityRow


@dataclass(frozen=True, kw_only=True)
class CheckedSeries:
    """One check that was recorded; `recorded` is an ISO text in UTC, the rest as of `QualityRow`.

    revised   which history had changed since the check before, in a sentence; empty where none had
    is_grave  whether that is a warning, and no roll of adjusted prices
    """

    series: str
    file: str
    score: float
    warnings: int
    recorded: str
    digest: HistoryDigest
    findings: Sequence[Mapping[str, Any]]
    revised: str = ""
    is_grave: bool = False

    @property
    def shown_score(self) -> str:
        """The score as reports write it."""
        return replace(_NOTHING, score=self.score).shown_score


_NOTHING = QualityReport(
    symbol="", timeframe="", bars=0, first="", last="", stale_open_share=float("nan"), findings=()
)


def checked(ledger: Ledger, series: str) -> list[CheckedSeries]:
    """Return the checks of a series, oldest first."""
    with ledger.database.read() as connection:
        return _checked(connection, series)


def record_check(
    ledger: Ledger, report: QualityReport, bars: Bars, session: Session, *, now: datetime
) -> Finding | None:
    """Write a check down, unless the newest one of the series says the same; return what was revised since.

    A revision is found once: the next check is compared with the bars of this one.
    """
    series, file = report.series, Path(bars.source).name
    digest = HistoryDigest.of(bars, session)
    with ledger.database.write() as connection:
        known = _checked(connection, series)
        found = revision(known[-1].digest, bars, session) if known else None
        row = {
            "series": series, "file": file, "bars": digest.bars, "first": digest.first, "last": digest.last,
            "score": report.score, "warnings": report.warnings,
            "content": json_text({
                "findings": [_entry(each) for each in report.findings], "months": dict(digest.months),
                "revised": None if found is None else _entry(found),
            }),
            "recorded": now.isoformat(timespec="seconds"),
        }  # fmt: skip
        if not known or found is not None or _differs(known[-1], row, digest):
            append(connection, QualityRow, [row])
    return found


def _entry(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind, "severity": finding.severity, "where": finding.where, "count": finding.count,
        "sentence": finding.sentence,
    }  # fmt: skip


def _differs(known: CheckedSeries, row: Mapping[str, Any], digest: HistoryDigest) -> bool:
    findings = json.loads(row["content"])["findings"]
    return (known.digest, known.file, known.score, list(known.findings)) != (
        digest, row["file"], row["score"], findings,
    )  # fmt: skip


def _checked(connection: Connection, series: str) -> list[CheckedSeries]:
    table = table_of(QualityRow)
    rows = connection.execute(select(table).where(table.c.series == series).order_by(table.c.id)).all()
    return [_read(row._mapping) for row in rows]


def _read(row: Mapping[Any, Any]) -> CheckedSeries:
    content = json.loads(row["content"])
    revised = content["revised"] or {"sentence": "", "severity": ""}
    return CheckedSeries(
        series=row["series"], file=row["file"], score=row["score"], warnings=row["warnings"],
        recorded=row["recorded"], findings=content["findings"], revised=revised["sentence"],
        is_grave=revised["severity"] == "warning",
        digest=HistoryDigest(
            bars=row["bars"], first=row["first"], last=row["last"], months=content["months"]
        ),
    )  # fmt: skip
