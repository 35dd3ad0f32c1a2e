"""Bar and tick files, as their source declares them: read fast where nothing is odd, else line by line."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from numpy.typing import NDArray

from lockstep.errors import BadBars, DataError
from lockstep.files import replace_file
from lockstep.market.bars import Bars
from lockstep.market.reach import reached, reached_ticks
from lockstep.market.reading import parsed_cache
from lockstep.market.reading.columns import BAR_NAMES, TICK_NAMES
from lockstep.market.reading.faults import Fault
from lockstep.market.reading.refusals import require_acceptable, require_spacing
from lockstep.market.reading.rows import Rows, bar_rows, tick_rows
from lockstep.market.reading.table import Layout, Table, head_of, read_unchanged, scanned, table_of, unchanged
from lockstep.market.reading.typed_table import typed_table
from lockstep.market.sessions import Session
from lockstep.market.source import STAMP, Source
from lockstep.market.ticks import Ticks

Data = TypeVar("Data", Bars, Ticks)


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
        require_spacing(table, rows.stamps, timeframe, session)

    read = _read(path, source, BAR_NAMES, lambda table: bar_rows(table, source, session), judge,
                 session=session, quarantine=quarantine)  # fmt: skip
    columns: Mapping[str, Any] = read.rows.columns
    bars = Bars(
        symbol=symbol,
        timeframe=timeframe,
        end=read.rows.stamps,
        source=str(path),
        adjustment=source.adjustment,
        **columns,
    )
    return _loaded(reached(bars, session), source, read)


def read_ticks(
    path: Path, *, symbol: str, source: Source, session: Session | None = None, quarantine: bool = False
) -> Loaded[Ticks]:
    """Read a tick file: datetime, price (or last), volume (or size); else as `read_bars`.

    Several trades may have the same stamp. The session is asked where this process must not see all dates.
    """
    read = _read(path, source, TICK_NAMES, lambda table: tick_rows(table, source), lambda *_: None,
                 session=None, quarantine=quarantine)  # fmt: skip
    ticks = Ticks(symbol=symbol, stamp=read.rows.stamps, source=str(path), **read.rows.columns)
    return _loaded(reached_ticks(ticks, session), source, read)


def _loaded(data: Data, source: Source, read: _Read) -> Loaded[Data]:
    rejected = read.rows.rejected
    return Loaded(
        data=data,
        source=source,
        rows=len(data) + len(rejected),
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
        require_acceptable(table, rows, source, quarantine)
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
                return _Read(Rows(kept.pop(STAMP), kept), ())
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
    return {STAMP: rows.stamps, **rows.columns}


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
    replace_file(target, "\n".join([*lines, ""]), error=DataError)
    return target
