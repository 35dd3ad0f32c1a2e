"""Bar and tick files: `<SYMBOL>_bt.csv`, `.csv.gz`, `.parquet`, checked row by row."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from lockstep.errors import DataError
from lockstep.market.bars import BAR_COLUMNS, NOT_RISING, Bars, Flags, Floats, Stamps, value_violations
from lockstep.market.faults import Fault, Faults
from lockstep.market.sessions import Session
from lockstep.market.source import Source
from lockstep.market.stamps import COLUMN, MISMATCH, utc_stamps
from lockstep.market.table import Table, numbers, read_table, shown
from lockstep.market.ticks import Ticks
from lockstep.market.timeframe import Timeframe

Data = TypeVar("Data", Bars, Ticks)
Columns = dict[str, Floats]

STAMP_NAMES = (COLUMN, "timestamp", "date")
TICK_COLUMNS = {"price": ("price", "last"), "volume": ("volume", "size")}
# Fewer bars than this may have gaps only; a file of any length does not.
_ENOUGH_TO_JUDGE_SPACING = 10


@dataclass(frozen=True, kw_only=True)
class Loaded(Generic[Data]):
    """What a file held: the good rows as `data`, how many `rows` there were, and the `rejected` ones."""

    data: Data
    source: Source
    rows: int
    rejected: tuple[Fault, ...] = ()
    rejected_path: Path | None = None


class Rows(NamedTuple):
    """The rows of a table: ends or stamps (n,) and columns (n,) of the good ones, and the bad ones."""

    stamps: Stamps
    columns: Columns
    rejected: tuple[Fault, ...]


def read_bars(
    path: Path, *, symbol: str, source: Source, session: Session, quarantine: bool = False
) -> Loaded[Bars]:
    """Read a bar file.

    Columns in any case and order: datetime, open, high, low, close, volume; others are ignored. BadBars
    names file, line, value and rule of the first bad row. With `quarantine` the bad rows go to
    `<file>.rejected.csv` instead, with the reasons; a file of another timeframe is refused either way.
    SourceChanged where the file changed while it was read; nothing is written unless rows are rejected.
    """
    timeframe = source.timeframe
    assert timeframe is not None, "tick files are read by read_ticks"
    table = read_table(path)
    end, columns, rejected = _accepted(table, bar_rows(table, source, session), quarantine)
    _require_spacing(table, end, timeframe, session)
    written = _write_rejected(path, table, rejected)
    bars = Bars(
        symbol=symbol,
        timeframe=timeframe,
        end=end,
        source=str(path),
        adjustment=source.adjustment,
        **columns,
    )
    return Loaded(
        data=bars, source=source, rows=end.size + len(rejected), rejected=rejected, rejected_path=written
    )


def read_ticks(path: Path, *, symbol: str, source: Source, quarantine: bool = False) -> Loaded[Ticks]:
    """Read a tick file: datetime, price (or last), volume (or size); else as `read_bars`.

    Several trades may have the same stamp.
    """
    table = read_table(path)
    stamps, columns, rejected = _accepted(table, tick_rows(table, source), quarantine)
    written = _write_rejected(path, table, rejected)
    ticks = Ticks(symbol=symbol, stamp=stamps, source=str(path), **columns)
    return Loaded(
        data=ticks, source=source, rows=stamps.size + len(rejected), rejected=rejected, rejected_path=written
    )


def bar_rows(table: Table, source: Source, session: Session, *, in_order: bool = True) -> Rows:
    """Return the rows of bars as `read_bars` checks them; `in_order`: falling stamps are faults."""
    timeframe = source.timeframe
    assert timeframe is not None, "rows of ticks are checked by tick_rows"

    def check(stamps: Stamps, columns: Columns, faults: Faults) -> Stamps:
        for broken, column, rule in value_violations(columns):
            faults.add(broken, column, rule)
        end = _bar_ends(stamps, timeframe, source, session, faults)
        if in_order:
            faults.add(_not_rising(end, faults.good, strictly=True), COLUMN, NOT_RISING)
        return end

    return _checked(table, source, {name: (name,) for name in BAR_COLUMNS}, check)


def tick_rows(table: Table, source: Source, *, in_order: bool = True) -> Rows:
    """Return the rows of trades as `read_ticks` checks them; `in_order`: falling stamps are faults."""

    def check(stamps: Stamps, columns: Columns, faults: Faults) -> Stamps:
        for name, values in columns.items():
            faults.add(~np.isfinite(values), name, "must be a finite number")
        faults.add(columns["volume"] < 0, "volume", "volume must be >= 0")
        if in_order:
            faults.add(_not_rising(stamps, faults.good, strictly=False), COLUMN, "stamps must not fall")
        return stamps

    return _checked(table, source, TICK_COLUMNS, check)


def _checked(
    table: Table,
    source: Source,
    names: Mapping[str, tuple[str, ...]],
    check: Callable[[Stamps, Columns, Faults], Stamps],
) -> Rows:
    """Return stamps and columns of the good rows, and the bad ones."""
    raw: dict[str, Any] = {COLUMN: table.column(*STAMP_NAMES)}
    raw |= {name: table.column(*spellings) for name, spellings in names.items()}
    faults = Faults(table.lines.size)
    columns = {name: _numbers(raw[name], name, faults) for name in names}
    stamps = check(utc_stamps(raw[COLUMN], source, faults), columns, faults)
    good = faults.good
    kept = {name: values[good] for name, values in columns.items()}
    return Rows(stamps[good], kept, _rejected(table, raw, faults))


def _accepted(table: Table, rows: Rows, quarantine: bool) -> Rows:
    """Return the rows; BadBars for bad ones unless `quarantine`, and for a file of another timeframe."""
    rejected = rows.rejected
    wrong = [fault for fault in rejected if fault.rule.startswith(MISMATCH)]
    mismatched = len(wrong) * 2 > table.lines.size
    if rejected and (not quarantine or mismatched or not rows.stamps.size):
        raise table.problem(*(wrong if mismatched else rejected)[0])
    return rows


def _numbers(column: Any, name: str, faults: Faults) -> Floats:
    values, not_numbers = numbers(column)
    faults.add(not_numbers, name, "must be a number")
    return values


def _rejected(table: Table, raw: dict[str, Any], faults: Faults) -> tuple[Fault, ...]:
    found = [
        Fault(int(table.lines[row]), f"{column} {shown(raw[column], row)}", rule)
        for row, column, rule in faults.rows()
    ]
    rule = f"expected {len(table.names)} columns, as in the header"
    found.extend(Fault(line, f"{count} columns", rule) for line, count in table.ragged)
    return tuple(sorted(found))


def _bar_ends(
    stamps: Stamps, timeframe: Timeframe, source: Source, session: Session, faults: Faults
) -> Stamps:
    """Return the moment each bar is complete; 0 for rows with a fault."""
    end, good = np.zeros(stamps.size, dtype=np.int64), faults.good
    if timeframe.is_session:
        end[good] = session.nominal_close(stamps[good].view("M8[ns]").astype("M8[D]"))
        return end
    given = stamps[good]
    end[good] = session.bucket_end(given, timeframe, closed="left") if source.stamp == "open" else given
    on_grid = session.bucket_end(given, timeframe, closed="right") == given
    if source.stamp == "open":
        on_grid |= given == session.scheduled_open(end[good])
    off = np.zeros(stamps.size, dtype=np.bool_)
    off[good] = ~on_grid
    template = session.template
    rule = f"{MISMATCH}: {timeframe} is declared, and bars of {template.name} follow its {template.grid} grid"
    faults.add(off, COLUMN, rule)
    return end


def _not_rising(stamps: Stamps, good: Flags, *, strictly: bool) -> Flags:
    """Return the rows among `good` that do not come after all good ones before them."""
    rows = np.flatnonzero(good)
    highest = np.maximum.accumulate(stamps[rows])[:-1]
    later = stamps[rows][1:]
    broken = np.zeros(stamps.size, dtype=np.bool_)
    broken[rows[1:]] = later <= highest if strictly else later < highest
    return broken


def _require_spacing(table: Table, end: Stamps, timeframe: Timeframe, session: Session) -> None:
    """Refuse a file without any two neighbouring bars: it is of a longer timeframe."""
    if end.size < _ENOUGH_TO_JUDGE_SPACING:
        return
    if timeframe.is_session:
        dates = session.dates(end, timeframe)
        scheduled = session.scheduled_dates(dates[0], dates[-1])
        closest = int(np.diff(np.searchsorted(scheduled, dates)).min()) if scheduled.size else 1
        found, apart = f"{closest} sessions", closest > 1
    else:
        shortest = int(np.diff(end).min())
        found, apart = f"{shortest / 60e9:g} minutes", shortest > timeframe.nanoseconds
    if apart:
        line, rule = int(table.lines[1]), f"{MISMATCH}: {timeframe} is declared; declare the file's own"
        raise table.problem(line, f"no two bars closer than {found}", rule)


def _write_rejected(path: Path, table: Table, rejected: tuple[Fault, ...]) -> Path | None:
    if not rejected:
        return None
    names = table.names if table.texts is None else (table.row_text(1),)
    lines = [",".join((*names, "reason"))]
    for line, value, rule in rejected:
        reason = f"line {line}: {value}: {rule}".replace('"', '""')
        lines.append(f'{table.row_text(line)},"{reason}"')
    target = path.with_name(f"{path.name}.rejected.csv")
    write_atomically(target, "\n".join([*lines, ""]))
    return target


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees the old or the new one; DataError where it cannot."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}: cannot be written; check the folder") from error
