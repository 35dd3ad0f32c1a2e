"""What refuses a whole file: too many bad rows, several series, another timeframe; each with the way out."""

from __future__ import annotations

import numpy as np

from lockstep.market.bars import NOT_RISING, Stamps
from lockstep.market.reading.columns import MIXED
from lockstep.market.reading.faults import Fault
from lockstep.market.reading.rows import NOT_FALLING, Rows, too_many
from lockstep.market.reading.stamps import MALFORMED, MISMATCH
from lockstep.market.reading.table import Table
from lockstep.market.sessions import Session
from lockstep.market.source import Source
from lockstep.market.timeframe import Timeframe

QUARANTINE = "--quarantine skips such rows"
# What `max_rejected` allows by default: a share, and a number of rows in any file.
_REJECTED_SHARE, _REJECTED_ROWS = 0.01, 3
# Fewer bars than this may have gaps only; a file of any length does not.
_ENOUGH_TO_JUDGE_SPACING = 10
# Neighbours that are one bar apart, in a file of longer bars: fewer than one in so many.
_RARE_NEIGHBOURS = 20
_LONGEST_STEP = 10_000


def require_acceptable(table: Table, rows: Rows, source: Source, quarantine: bool) -> None:
    """BadBars for rejected rows unless `quarantine`; for too many, and a file of another kind, either way."""
    rejected, total = rows.rejected, rows.stamps.size + len(rows.rejected)
    mixed = [fault for fault in rejected if fault.rule.startswith(MIXED)]
    mismatched = [fault for fault in rejected if fault.rule.startswith(MISMATCH)]
    if mixed:
        raise table.problem(*mixed[0])
    if too_many(len(mismatched), total):
        line, value, rule = mismatched[0]
        raise table.problem(
            line, value, f"{rule} ({len(mismatched):,} of {total:,} rows); declare the file's own"
        )
    allowed = max(int(total * _REJECTED_SHARE), _REJECTED_ROWS)
    if source.max_rejected is not None:
        allowed = int(total * source.max_rejected + 1e-9)
    if quarantine and rows.stamps.size and len(rejected) <= allowed:
        return
    line, value, rule = rejected[0]
    way = _way_out(table, rejected, total, source)
    if quarantine and way == QUARANTINE:
        way = (
            f"{len(rejected):,} of {total:,} rows are bad, and max_rejected allows {allowed:,}; fix the file"
        )
    raise table.problem(line, value, f"{rule}; {way}")


def _way_out(table: Table, rejected: tuple[Fault, ...], total: int, source: Source) -> str:
    """Return what to do about a file, from what most of its rows have in common."""
    first = rejected[0]
    alike = sum(fault.rule == first.rule for fault in rejected)
    if alike * 2 <= total or (alike == 1 and total > 1):
        return QUARANTINE
    if first.rule.startswith(MALFORMED):
        return _stamp_hint(first.value)
    if first.rule in (NOT_RISING, NOT_FALLING) and source.order == "rising":
        return "the file is newest first: declare order: any"
    if first.rule == "must be a number":
        return _number_hint(first.value, source)
    if first.value.endswith(" columns") and table.text is not None:
        return "where the columns are separated by something else, declare separator"
    return QUARANTINE


def _stamp_hint(value: str) -> str:
    """Return how to declare stamps that are written otherwise."""
    text = value.partition(" ")[2].strip("'")
    digits = text.partition(".")[0]
    unit = {10: "s", 13: "ms", 16: "us", 19: "ns"}.get(len(digits)) if digits.isdigit() else None
    if unit is not None:
        return f"where they count from 1970, declare epoch: {unit}"
    return "declare stamp_format, such as %d.%m.%Y %H:%M"


def _number_hint(value: str, source: Source) -> str:
    text = value.partition("'")[2]
    if "," in text and source.decimal == "." and source.thousands is None:
        grouped = text.count(",") > 1 or "." in text
        return "declare thousands: ','" if grouped else "declare decimal: ',' (or thousands: ',')"
    if "." in text and source.decimal == ",":
        return "decimal: ',' is declared; declare what the file has"
    if value.startswith("volume"):
        return "where the file has no volume, declare volume: none"
    return QUARANTINE


def require_spacing(table: Table, end: Stamps, timeframe: Timeframe, session: Session) -> None:
    """Refuse a file of a longer timeframe: hardly any two neighbouring bars are one bar apart."""
    if end.size < _ENOUGH_TO_JUDGE_SPACING:
        return
    if timeframe.is_session:
        dates = session.dates(end, timeframe)
        scheduled = session.scheduled_dates(dates[0], dates[-1])
        steps = np.diff(np.searchsorted(scheduled, dates))
        if not scheduled.size:
            return
    else:
        steps = np.diff(end) // timeframe.nanoseconds
    counts = np.bincount(np.minimum(steps, _LONGEST_STEP), minlength=2)
    near, usual = int(counts[:2].sum()), int(counts.argmax())
    if near == 0 or (usual > 1 and near * _RARE_NEIGHBOURS < counts[usual]):
        shortest = int(steps.min()) if near == 0 else usual
        length = f"{shortest} sessions" if timeframe.is_session else f"{shortest * timeframe.minutes} minutes"
        value = f"no two bars closer than {length}" if near == 0 else f"most bars {length} apart"
        raise table.problem(
            int(table.lines[1]), value, f"{MISMATCH}: {timeframe} is declared; declare the file's own"
        )
