"""Bar and tick files, as their source declares them, checked row by row."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import BadBars, DataError
from lockstep.market import parsed_cache
from lockstep.market.bars import NOT_RISING, PRICE_COLUMNS, Bars, Flags, Floats, Stamps, value_violations
from lockstep.market.columns import BAR_NAMES, MIXED, TICK_NAMES, chosen, mark_mixed, selected, telling
from lockstep.market.faults import Broken, Fault, Faults
from lockstep.market.numbers import Notation, numbers
from lockstep.market.sessions import Session
from lockstep.market.source import STAMP as COLUMN
from lockstep.market.source import Source
from lockstep.market.stamps import MALFORMED, MISMATCH, newest_first, utc_stamps
from lockstep.market.table import (
    Layout,
    Table,
    head_of,
    read_unchanged,
    scanned,
    shown,
    table_of,
    unchanged,
)
from lockstep.market.ticks import Ticks
from lockstep.market.timeframe import Timeframe
from lockstep.market.typed_table import typed_table

Data = TypeVar("Data", Bars, Ticks)
Columns = dict[str, Floats]

NOT_FALLING = "stamps must not fall"
QUARANTINE = "--quarantine leaves such rows out"
# Fewer bars than this may have gaps only; a file of any length does not.
_ENOUGH_TO_JUDGE_SPACING = 10
# More rows than one in so many that do not fit a timeframe make a file of another one.
_ODD_SHARE = 100
# Neighbours that are one bar apart, in a file of longer bars: fewer than one in so many.
_RARE_NEIGHBOURS = 20
_LONGEST_STEP = 10_000
# What `max_rejected` allows by default: a share, and a number of rows in any file.
_REJECTED_SHARE, _REJECTED_ROWS = 0.01, 3
# Databento's mark for a price that is not known: the largest int64.
_NO_PRICE = 9.2e18


@dataclass(frozen=True, kw_only=True)
class Loaded(Generic[Data]):
    """What a file held: the good rows as `data`, how many `rows` there were, and the `rejected` ones.

    findings   sentences about the file as a whole: what is legal and may still be wrong
    """

    data: Data
    source: Source
    rows: int
    rejected: tuple[Fault, ...] = ()
    rejected_path: Path | None = None
    findings: tuple[str, ...] = ()


class Rows(NamedTuple):
    """The rows of a table: ends or stamps (n,), columns and lines (n,) of the good ones, and the bad ones."""

    stamps: Stamps
    columns: Columns
    rejected: tuple[Fault, ...] = ()
    lines: NDArray[np.int64] | None = None


class _Read(NamedTuple):
    """What a file held, and the path that its bad rows were written to."""

    rows: Rows
    findings: tuple[str, ...]
    rejected_path: Path | None = None


def read_bars(
    path: Path, *, symbol: str, source: Source, session: Session, quarantine: bool = False
) -> Loaded[Bars]:
    """Read a bar file.

    Columns in any case and order: datetime, open, high, low, close, volume, or what the source calls them.
    Others are ignored, unless they tell rows apart (symbol, contract, time …): then they hold one value, or
    the source selects or ignores them. BadBars names file, line, value and rule of the first bad row, and
    the way out. With `quarantine` the bad rows go to `<file>.rejected.csv` instead, with the reasons; more of
    them than `max_rejected`, rows of several series and a file of another timeframe are refused either way.
    SourceChanged where the file changed while it was read; nothing is written unless rows are rejected.
    """
    timeframe = source.timeframe
    assert timeframe is not None, "tick files are read by read_ticks"

    def judge(table: Table, rows: Rows) -> None:
        _require_spacing(table, rows.stamps, timeframe, session)

    read = _read(path, source, BAR_NAMES, lambda table: bar_rows(table, source, session), judge,
                 session=session, quarantine=quarantine)  # fmt: skip
    bars = Bars(
        symbol=symbol,
        timeframe=timeframe,
        end=read.rows.stamps,
        source=str(path),
        adjustment=source.adjustment,
        **read.rows.columns,
    )
    return _loaded(bars, source, read)


def read_ticks(path: Path, *, symbol: str, source: Source, quarantine: bool = False) -> Loaded[Ticks]:
    """Read a tick file: datetime, price (or last), volume (or size); else as `read_bars`.

    Several trades may have the same stamp.
    """
    read = _read(path, source, TICK_NAMES, lambda table: tick_rows(table, source), lambda *_: None,
                 session=None, quarantine=quarantine)  # fmt: skip
    ticks = Ticks(symbol=symbol, stamp=read.rows.stamps, source=str(path), **read.rows.columns)
    return _loaded(ticks, source, read)


def _loaded(data: Data, source: Source, read: _Read) -> Loaded[Data]:
    rejected = read.rows.rejected
    return Loaded(
        data=data,
        source=source,
        rows=read.rows.stamps.size + len(rejected),
        rejected=rejected,
        rejected_path=read.rejected_path,
        findings=read.findings,
    )


def _read(
    path: Path,
    source: Source,
    names: Mapping[str, tuple[str, ...]],
    rows_of: Callable[[Table], Rows],
    judge: Callable[[Table, Rows], None],
    *,
    session: Session | None,
    quarantine: bool,
) -> _Read:
    """Return the rows of a file.

    A large one comes from the cache where it was read before; where nothing is odd about it, it is parsed
    into numbers at once. Text, line by line, gives the same, and knows what is odd where.
    """
    quick = _quick(path, source, names, rows_of, judge, session)
    if quick is not None:
        return quick
    data = read_unchanged(path)
    table = table_of(path, data, Layout.of(source))
    rows = rows_of(table)
    if rows.rejected:
        _require_acceptable(table, rows, source, quarantine)
    judge(table, rows)
    findings = _findings(table.cut_off)
    if len(data) >= parsed_cache.WORTH and not rows.rejected and not findings:
        digest = hashlib.sha256(data).hexdigest()
        parsed_cache.keep(parsed_cache.key(head_of(io.BytesIO(data)), digest, source, session), _arrays(rows))
    return _Read(rows, findings, _write_rejected(path, table, rows.rejected, source.separator))


def _quick(
    path: Path,
    source: Source,
    names: Mapping[str, tuple[str, ...]],
    rows_of: Callable[[Table], Rows],
    judge: Callable[[Table, Rows], None],
    session: Session | None,
) -> _Read | None:
    """Return the rows of a large file without a fault, or None."""
    if not path.is_file() or path.stat().st_size < parsed_cache.WORTH:
        return None
    # pyarrow reads 0x10 as a whole number; we do not.
    marks = b"" if source.epoch is None else b"xX"
    with unchanged(path) as handle:
        head = head_of(handle)
        if parsed_cache.may_hold(head):
            kept = parsed_cache.load(parsed_cache.key(head, scanned(handle).digest, source, session))
            if kept is not None:
                return _Read(Rows(kept.pop(COLUMN), kept), ())
            handle.seek(0)
        with ThreadPoolExecutor(1) as beside:
            scanning = beside.submit(scanned, handle, marks=marks)
            table = typed_table(path, head, source, names)
            scan = scanning.result()
        rows = _clean(table, rows_of, judge) if scan.plain else None
    if rows is None:
        return None
    findings = _findings(scan.cut_off)
    if not findings:
        parsed_cache.keep(parsed_cache.key(head, scan.digest, source, session), _arrays(rows))
    return _Read(rows, findings)


def _arrays(rows: Rows) -> dict[str, NDArray[Any]]:
    return {COLUMN: rows.stamps, **rows.columns}


def _clean(
    table: Table | None, rows_of: Callable[[Table], Rows], judge: Callable[[Table, Rows], None]
) -> Rows | None:
    """Return the rows of a table without a fault, or None."""
    if table is None:
        return None
    try:
        rows = rows_of(table)
        judge(table, rows)
    except BadBars:
        # The lines of a typed table are not those of the file: it is read again to name them.
        return None
    return None if rows.rejected else rows


def _findings(cut_off: str | None) -> tuple[str, ...]:
    if cut_off is None:
        return ()
    return (f"the last line has no end, so the file may be cut off in its last number: {cut_off!r}",)


def bar_rows(
    table: Table, source: Source, session: Session, *, piece_of: dict[str, Any] | None = None
) -> Rows:
    """Return the rows of bars as `read_bars` checks them.

    piece_of   given where the table is a piece of a file that grows: its stamps may fall, it may hold no
               selected row, and what tells its rows apart is compared with the first piece, which this notes
    """
    timeframe = source.timeframe
    assert timeframe is not None, "rows of ticks are checked by tick_rows"

    def check(stamps: Stamps, columns: Columns, faults: Faults) -> Stamps:
        for broken, column, rule in value_violations(columns):
            other = rule.rpartition(" ")[2]
            faults.add(broken, column, rule, beside=other if other in PRICE_COLUMNS else None)
        if timeframe.is_session and piece_of is None:
            _mark_repeated_dates(stamps, faults)
        return _bar_ends(stamps, timeframe, source, session, faults)

    return _checked(table, source, BAR_NAMES, check, NOT_RISING, piece_of)


def tick_rows(table: Table, source: Source, *, piece_of: dict[str, Any] | None = None) -> Rows:
    """Return the rows of trades as `read_ticks` checks them; `piece_of` as in `bar_rows`."""

    def check(stamps: Stamps, columns: Columns, faults: Faults) -> Stamps:
        for name, values in columns.items():
            faults.add(~np.isfinite(values), name, "must be a finite number")
        faults.add(columns["volume"] < 0, "volume", "volume must be >= 0")
        return stamps

    return _checked(table, source, TICK_NAMES, check, NOT_FALLING, piece_of)


def _checked(
    table: Table,
    source: Source,
    names: Mapping[str, tuple[str, ...]],
    check: Callable[[Stamps, Columns, Faults], Stamps],
    order_rule: str,
    piece_of: dict[str, Any] | None,
) -> Rows:
    """Return stamps and columns of the good rows, and the bad ones."""
    whole = piece_of is None
    table = selected(table, source, required=whole)
    used = chosen(table, source, names)
    faults = Faults(table.lines.size)
    mark_mixed(table, telling(table, source, used), faults, {} if piece_of is None else piece_of)
    raw: dict[str, Any] = {COLUMN: _stamp_column(table, used[COLUMN])}
    columns = {
        name: _numbers(table, name, theirs, source, faults, raw)
        for name, theirs in used.items()
        if name != COLUMN
    }
    stamps = check(utc_stamps(raw[COLUMN], source, faults), columns, faults)
    order = _in_order(stamps, faults, order_rule, source) if whole else None
    if order is None and faults.found:
        order = np.flatnonzero(faults.good)
    if order is not None:
        stamps, columns = stamps[order], {name: values[order] for name, values in columns.items()}
    lines = table.lines if order is None else table.lines[order]
    return Rows(stamps, columns, _rejected(table, raw, faults), lines)


def _stamp_column(table: Table, theirs: tuple[str, ...]) -> Any:
    """Return the column of stamps; a date and a time in columns of their own are joined by a blank."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [table.column(name) for name in theirs]
    if len(parts) == 1:
        return parts[0]
    day = parts[0]
    if pa.types.is_timestamp(day.type):
        parts[0] = day.cast(pa.date32())
    return pc.binary_join_element_wise(*(part.cast(pa.string()) for part in parts), " ")


def _numbers(
    table: Table, name: str, theirs: tuple[str, ...], source: Source, faults: Faults, raw: dict[str, Any]
) -> Floats:
    """Return one of our columns, summed where it is made of several; what it is read from goes to `raw`."""
    total: Floats | None = None
    for each in theirs:
        shown_as = name if len(theirs) == 1 else f"{name} {each}"
        raw[shown_as] = table.column(each)
        values, not_numbers = numbers(raw[shown_as], Notation.of(source))
        faults.add(not_numbers, shown_as, "must be a number")
        total = values if total is None else total + values
    if total is None:
        return np.zeros(table.lines.size)
    raw.setdefault(name, raw[f"{name} {theirs[0]}"] if len(theirs) > 1 else None)
    if name in (*PRICE_COLUMNS, "price") and source.scale != 1.0:
        faults.add(total >= _NO_PRICE, name, "must be a price; this is the mark for an unknown one")
        return _scaled(total, source.scale)
    return total


def _scaled(values: Floats, scale: float) -> Floats:
    """Return values times a factor; times 1e-9 is divided by 1e9, so that it is the nearest double."""
    divisor = round(1 / scale)
    exact = divisor > 1 and abs(divisor * scale - 1) < 1e-12
    return np.asarray(values / divisor if exact else values * scale)


def _in_order(stamps: Stamps, faults: Faults, rule: str, source: Source) -> NDArray[np.int64] | None:
    """Return the good rows in the order of their stamps, or None where they are all rows as they are.

    A row that does not come after the good ones before it is marked; where the source promises no order, only
    one whose stamp occurs a second time.
    """
    strictly = rule == NOT_RISING
    steps = np.diff(stamps)
    if not faults.found and bool((steps > 0).all() if strictly else (steps >= 0).all()):
        return None
    rows = np.flatnonzero(faults.good)
    if source.order == "any":
        if newest_first(stamps[rows]):
            rows = rows[::-1]
        rows = rows[np.argsort(stamps[rows], kind="stable")]
        before, broken = rows[:-1], strictly & (np.diff(stamps[rows]) == 0)
    else:
        given = stamps[rows]
        highest = np.maximum.accumulate(given)
        risen = np.concatenate(([True], given[1:] > highest[:-1]))[: given.size]
        at = np.maximum.accumulate(np.where(risen, np.arange(given.size), 0))
        before = rows[at[:-1]]
        broken = given[1:] <= highest[:-1] if strictly else given[1:] < highest[:-1]
    mask, after = np.zeros(stamps.size, dtype=np.bool_), np.zeros(stamps.size, dtype=np.int64)
    mask[rows[1:]], after[rows[1:]] = broken, before
    faults.add(mask, COLUMN, rule, after=after)
    return np.concatenate((rows[:1], rows[1:][~broken]))


def _mark_repeated_dates(stamps: Stamps, faults: Faults) -> None:
    """Mark all rows but the first of each date where so many repeat one that they are shorter bars."""
    repeats = np.concatenate(([False], np.diff(stamps) == 0))[: stamps.size] & faults.good
    if _too_many(int(np.count_nonzero(repeats)), stamps.size):
        faults.add(repeats, COLUMN, f"{MISMATCH}: 1d is declared, and dates occur several times")


def _too_many(odd: int, rows: int) -> bool:
    return odd > max(1, rows // _ODD_SHARE)


def _require_acceptable(table: Table, rows: Rows, source: Source, quarantine: bool) -> None:
    """BadBars for rejected rows unless `quarantine`; for too many, and a file of another kind, either way."""
    rejected, total = rows.rejected, rows.stamps.size + len(rows.rejected)
    mixed = [fault for fault in rejected if fault.rule.startswith(MIXED)]
    mismatched = [fault for fault in rejected if fault.rule.startswith(MISMATCH)]
    if mixed:
        raise table.problem(*mixed[0])
    if _too_many(len(mismatched), total):
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
            f"{len(rejected):,} of {total:,} rows are bad, and max_rejected allows {allowed:,}; mend the file"
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


def _rejected(table: Table, raw: dict[str, Any], faults: Faults) -> tuple[Fault, ...]:
    found = [
        Fault(int(table.lines[row]), _value(table, raw, row, broken), broken.rule)
        for row, broken in faults.broken()
    ]
    last = table.lines[-1] if table.lines.size else 0
    for line, count in table.ragged:
        rule = f"expected {len(table.names)} columns, as in the {'header' if table.header else 'first line'}"
        if line > last and table.cut_off is not None:
            rule += "; the line has no end: the file is cut off"
        found.append(Fault(line, f"{count} columns", rule))
    return tuple(sorted(found))


def _value(table: Table, raw: dict[str, Any], row: int, broken: Broken) -> str:
    """Return the value that broke a rule, and what it was compared with."""
    column = broken.column
    text = f"{column} {shown(raw[column] if column in raw else table.column(column), row)}"
    if broken.beside is not None:
        return f"{text} and {broken.beside} {shown(raw[broken.beside], row)}"
    if broken.after is not None:
        return f"{text} after {shown(raw[column], broken.after)}"
    return text


def _bar_ends(
    stamps: Stamps, timeframe: Timeframe, source: Source, session: Session, faults: Faults
) -> Stamps:
    """Return the moment each bar is complete; 0 for rows with a fault."""
    if not faults.found:
        return _ends_of_good(stamps, np.ones(stamps.size, dtype=np.bool_), timeframe, source, session, faults)
    end, good = np.zeros(stamps.size, dtype=np.int64), faults.good
    end[good] = _ends_of_good(stamps[good], good, timeframe, source, session, faults)
    return end


def _ends_of_good(
    given: Stamps, good: Flags, timeframe: Timeframe, source: Source, session: Session, faults: Faults
) -> Stamps:
    """Return the ends of the good rows' bars, and mark those that are not on the grid of the timeframe."""
    if timeframe.is_session:
        return session.nominal_close(given.view("M8[ns]").astype("M8[D]"))
    opens = source.stamp == "open"
    on_grid = session.bucket_end(given, timeframe, closed="right") == given
    end = session.bucket_end(given, timeframe, closed="left") if opens else given
    if opens and not on_grid.all():
        on_grid |= given == session.scheduled_open(end)
    if not on_grid.all():
        off = np.zeros(good.size, dtype=np.bool_)
        off[good] = ~on_grid
        template = session.template
        grid = f"bars of {template.name} follow its {template.grid} grid"
        faults.add(off, COLUMN, f"{MISMATCH}: {timeframe} is declared, and {grid}")
    return end


def _require_spacing(table: Table, end: Stamps, timeframe: Timeframe, session: Session) -> None:
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


def _write_rejected(path: Path, table: Table, rejected: tuple[Fault, ...], separator: str) -> Path | None:
    if not rejected:
        return None
    named = (table.row_text(1),) if table.header and table.text is not None else table.names
    if table.text is None:
        separator = ","
    lines = [separator.join((*named, "reason"))]
    for line, value, rule in rejected:
        reason = f"line {line}: {value}: {rule}".replace('"', '""')
        lines.append(f'{table.row_text(line)}{separator}"{reason}"')
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
