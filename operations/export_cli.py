"""The command that exports what a journal, the backtests, a monitor or the performance store recorded."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, get_type_hints

import pyarrow as pa
import typer

from lockstep.errors import ExperimentError, JournalError, MonitorError
from lockstep.live.journal.export import KINDS, Range, export, require_format, write
from lockstep.market.command_line import renamed
from lockstep.settings import suggestion
from operations.watch.export import WATCHED, watched
from research.ledger.database import Database, default_url
from research.ledger.ledger import Ledger
from research.ledger.performance import PeriodPerformance, read

app = typer.Typer(add_completion=False)

_PERFORMANCE = "performance"


@app.command(cls=renamed({"--from": "--start", "--to": "--end"}))
def main(
    kind: Annotated[
        str,
        typer.Argument(
            help="fills, orders, positions, decisions, proposals, portfolio (of a journal), "
            "outcomes, drift, alarms (of a monitor), backtests or performance (of the ledger)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    journal: Annotated[Path | None, typer.Option(help="The journal file.")] = None,
    monitor: Annotated[Path | None, typer.Option(help="The monitor's database, monitor.db.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of run folders, for backtests.")] = Path("results"),
    table: Annotated[str, typer.Option(help="Table of a backtest: trades or equity.")] = "trades",
    first: Annotated[str | None, typer.Option("--start", help="First day (UTC), YYYY-MM-DD.")] = None,
    last: Annotated[str | None, typer.Option("--end", help="Last day (UTC), included, YYYY-MM-DD.")] = None,
    form: Annotated[str, typer.Option("--format", help="csv or parquet.")] = "csv",
    compressed: Annotated[bool, typer.Option("--gzip", help="Compress with gzip.")] = False,
) -> None:
    """Export what a journal, backtests, a monitor or the performance store recorded into one file."""
    require_format(form)
    days = Range.parse(first, last)
    known = (*KINDS, *WATCHED, _PERFORMANCE)
    if kind not in known:
        raise JournalError(f"{kind!r} is not recorded{suggestion(kind, known)}")
    if kind in WATCHED:
        rows = _watched(kind, days, monitor)
    elif kind == _PERFORMANCE:
        rows = performance(Ledger(Database.reading(default_url())), days)
    else:
        rows = export(kind, days, journal=journal, runs=runs, table=table)
    write(rows, out, form, kind=kind, compressed=compressed)
    typer.echo(f"{rows.num_rows:,} rows of {kind}: {out}")


def performance(ledger: Ledger, days: Range) -> pa.Table:
    """Return the stored periods whose first session lies in the range, as `performance.read` orders them.

    ExperimentError where there is none.
    """
    first, last = days.first or date.min, days.last or date.max
    rows = [each.row for each in read(ledger) if first <= each.first_date <= last]
    if not rows:
        raise ExperimentError(
            f"performance: no period is stored {days}; `lockstep candidates update` stores some"
        )
    types = {date: pa.date32(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    kinds = get_type_hints(PeriodPerformance)
    schema = [(name, types.get(kinds.get(name, str), pa.string())) for name in rows[0]]
    return pa.Table.from_pylist(rows, schema=pa.schema(schema))


def _watched(kind: str, days: Range, monitor: Path | None) -> pa.Table:
    if monitor is None:
        raise MonitorError(f"{kind}: which monitor? Name its file with --monitor")
    return watched(monitor, kind, days)
