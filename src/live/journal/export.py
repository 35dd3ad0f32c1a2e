"""What was recorded, as tables with declared types: fills, orders, positions, decisions, proposals ...

A table as a csv or parquet file that appears whole or not at all.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from lockstep.errors import JournalError
from lockstep.files import replacing
from lockstep.live.journal.journal import Journal
from lockstep.live.journal.reader import JournalReader
from lockstep.settings import suggestion
from lockstep.strategy.decision import kind_of

_NANOSECONDS = 1_000_000_000
_FIRST, _LAST = -(2**63), 2**63 - 1

TIME = pa.timestamp("ns", tz="UTC")
_TYPES = {
    "epoch": pa.int64(),
    "sequence": pa.int64(),
    "code": pa.int64(),
    "bars_held": pa.int64(),
    **dict.fromkeys(("place", "day", "tier", "stopped", "halted"), pa.int64()),
    "end": TIME,
    "decision": TIME,
    "vector": pa.list_(pa.float64()),
    **dict.fromkeys(("mode", "symbol", "intent", "reason", "status", "kind", "bundle", "rule"), pa.string()),
}
"""Types by column; every other column is float64, missing where the journal has NaN."""

_ORDERS = """
    SELECT epoch, mode, sequence, stamp AS end, decision, symbol, intent, orders.reason AS reason, status,
           quantity, price, commission, slippage
    FROM orders JOIN entries USING (sequence) JOIN epochs ON number = epoch
    WHERE stamp >= ? AND stamp < ? {only} ORDER BY sequence, lane, place
"""
_LANES = """
    SELECT epoch, mode, sequence, stamp AS end, symbol, {columns}
    FROM decisions JOIN sets USING (sequence) JOIN entries USING (sequence) JOIN epochs ON number = epoch
    WHERE stamp >= ? AND stamp < ? ORDER BY sequence, place
"""
_QUERIES = {
    "fills": _ORDERS.format(only="AND status = 'completed'"),
    "orders": _ORDERS.format(only=""),
    "positions": _LANES.format(
        columns="mark_price AS close, mark_position AS position, mark_cash AS cash, mark_equity AS equity,"
        " entry_price, stop, target, bars_held"
    ),
    "proposals": """
        SELECT epoch, mode, sequence, sets.stamp AS end, symbol, place, side, base, scale, quantity, rule,
               margin, equity
        FROM proposals JOIN settlements USING (sequence) JOIN sets USING (sequence)
             JOIN entries USING (sequence) JOIN epochs ON number = epoch
        WHERE sets.stamp >= ? AND sets.stamp < ? ORDER BY sequence, place""",
    "portfolio": """
        SELECT epoch, mode, sequence, sets.stamp AS end, day, baseline, equity, drawdown, tier, stopped,
               halted, reserve
        FROM settlements JOIN sets USING (sequence) JOIN entries USING (sequence)
             JOIN epochs ON number = epoch
        WHERE sets.stamp >= ? AND sets.stamp < ? ORDER BY sequence""",
    "decisions": _LANES.format(columns="bundle, code, decisions.reason AS reason, probability, vector"),
}
KINDS = (*_QUERIES, "backtests")
_EVER = frozenset(_QUERIES) - {"proposals", "portfolio"}


class Range(NamedTuple):
    """Days from `first` to `last`, both included, in UTC; None is open."""

    first: date | None = None
    last: date | None = None

    @classmethod
    def parse(cls, first: str | None, last: str | None) -> Range:
        """Return the range of two ISO dates; JournalError where one is no date, or they are reversed."""
        days = cls(_day("--start", first), _day("--end", last))
        if days.first and days.last and days.last < days.first:
            raise JournalError(f"--start {days.first} --end {days.last}: the range ends before it begins")
        return days

    @property
    def stamps(self) -> tuple[int, int]:
        """First moment in the range and first one behind it, UTC ns."""
        return (
            _FIRST if self.first is None else _moment(self.first),
            _LAST if self.last is None else _moment(self.last + timedelta(days=1)),
        )

    def __str__(self) -> str:
        return f"from {self.first or 'the beginning'} to {self.last or 'the end'}"


def export(kind: str, days: Range, *, journal: Path | None, runs: Path, table: str) -> pa.Table:
    """Return what was recorded of `kind`: one of KINDS, else JournalError with the nearest name.

    journal   a journal file, for all but `backtests`, which reads the `table` of the run folders in `runs`
    """
    if kind == "backtests":
        return backtests(runs, table, days)
    if kind not in _QUERIES:
        raise JournalError(f"{kind!r} is not recorded{suggestion(kind, KINDS)}")
    if journal is None:
        raise JournalError(f"{kind}: which journal? Name its file with --journal")
    with Journal.open(journal, readonly=True) as opened:
        return recorded(opened, kind, days)


def recorded(journal: JournalReader, kind: str, days: Range) -> pa.Table:
    """Return `fills`, `orders` or another table of a journal; JournalError where there is none.

    Rows are those whose bar ends in the range; `end` and `decision` are ends of bars. A fill is the completed
    state of an order.
    """
    rows = journal.records(_QUERIES[kind], *days.stamps) if kind in _EVER or journal.keeps_portfolios else []
    if not rows:
        raise JournalError(f"journal {journal.path}: no {kind} {days}: widen the range")
    if kind == "decisions":
        rows = [_told(row) for row in rows]
    schema = pa.schema([(name, _TYPES.get(name, pa.float64())) for name in rows[0]])
    return pa.Table.from_pylist(rows, schema=schema)


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """Return a decision with its kind in words and its vector as numbers."""
    vector = np.frombuffer(row.pop("vector"), dtype="<f8")
    return {**row, "kind": kind_of(row["code"]), "vector": vector}


def backtests(runs: Path, table: str, days: Range) -> pa.Table:
    """Return the `trades` or the `equity` of all run folders under `runs`, the folder's name in `run`.

    A trade belongs to the day on which it was decided. JournalError where there is nothing.
    """
    if table not in _TIME_OF_RUN:
        raise JournalError(f"--table {table!r}: not in a run folder{suggestion(table, _TIME_OF_RUN)}")
    found = [_run(path, _TIME_OF_RUN[table], days) for path in sorted(runs.glob(f"*/{table}.parquet"))]
    rows = pa.concat_tables(found) if found else pa.table({})
    if not rows.num_rows:
        raise JournalError(
            f"{runs}: no {table} of a backtest {days}: name the folder of runs, or widen the range"
        )
    return rows


_TIME_OF_RUN = {"trades": "decision_end", "equity": "end"}


def _run(path: Path, time: str, days: Range) -> pa.Table:
    try:
        table = pq.read_table(path).replace_schema_metadata()
    except (OSError, pa.ArrowInvalid) as error:
        raise JournalError(f"{path}: cannot be read as parquet: {error}") from error
    ends = table[time].cast(pa.int64())
    first, behind = days.stamps
    table = table.filter(pc.and_(pc.greater_equal(ends, first), pc.less(ends, behind)))
    return table.add_column(0, "run", pa.array([path.parent.name] * table.num_rows, pa.string()))


def _day(option: str, text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise JournalError(f"{option} {text!r}: must be a date like 2024-01-31") from None


def _moment(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * _NANOSECONDS


SCHEMA = 1
"""Raised whenever a column changes its name, type or meaning."""


def require_format(form: str) -> None:
    """JournalError, with the nearest name, for a format that is not written."""
    if form not in _WRITERS:
        raise JournalError(f"--format {form!r}: unknown{suggestion(form, _WRITERS)}")


def write(table: pa.Table, path: Path, form: str, *, kind: str, compressed: bool = False) -> None:
    """Write `table`, replacing an earlier file; equal tables give equal bytes.

    csv      numbers with all their digits, NaN and NULL empty, times in ISO 8601 (UTC), vectors as JSON
    parquet  types as they are; the metadata hold `lockstep.export` (the kind) and `lockstep.schema`
    JournalError for an unknown format, and where the file cannot be written.
    """
    require_format(form)
    try:
        with replacing(path) as partial:
            _WRITERS[form](table, partial, kind, compressed)
    except OSError as error:
        raise JournalError(f"{path}: cannot be written: {error.strerror or error}") from error


def _write_parquet(table: pa.Table, path: Path, kind: str, compressed: bool) -> None:
    named = {"lockstep.export": kind, "lockstep.schema": str(SCHEMA)}
    codec = "gzip" if compressed else "snappy"
    pq.write_table(table.replace_schema_metadata(named), path, compression=codec)


def _write_csv(table: pa.Table, path: Path, kind: str, compressed: bool) -> None:
    spelled = pa.table({name: _spelled(table[name]) for name in table.column_names})
    content = pa.BufferOutputStream()
    pyarrow.csv.write_csv(spelled, content, pyarrow.csv.WriteOptions(quoting_style="needed"))
    raw = content.getvalue().to_pybytes()
    # A time stamp in the gzip header would make equal tables differ.
    path.write_bytes(gzip.compress(raw, mtime=0) if compressed else raw)


def _spelled(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Return a column as csv can hold it."""
    if pa.types.is_timestamp(column.type):
        return _iso(column)
    if pa.types.is_list(column.type):
        return pa.array([json.dumps(row) for row in column.to_pylist()], pa.string())
    return column


def _iso(column: pa.ChunkedArray) -> pa.Array:
    """Return times as ISO 8601: moments in UTC to the nanosecond, times without a zone as dates."""
    zone = column.type.tz
    values = column.cast(pa.timestamp("ns")).to_numpy()
    text = np.datetime_as_string(values, unit="ns" if zone else "D")
    return pa.array(
        [None if each == "NaT" else each + ("Z" if zone else "") for each in text.tolist()], pa.string()
    )


_WRITERS: Mapping[str, Callable[[pa.Table, Path, str, bool], None]] = {
    "csv": _write_csv,
    "parquet": _write_parquet,
}
