"""Commands on roll tables: build one from the files of contracts, show one and what the files say of it."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.errors import ConfigError, DataError
from lockstep.market.command_line import App, OneSymbol, SourceName
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.continuous import table_path
from lockstep.market.reading.contracts import read_contract
from lockstep.market.roll_rules import Daily, RollRule, build_table, by_session, differences
from lockstep.market.rolls import RollTable
from lockstep.market.sessions import Session
from lockstep.market.source import Source
from lockstep.tables import TextTable, number

app = App(no_args_is_help=True)
DIFFERENT = 1

Folder = Annotated[Path, typer.Option("--data-dir", help="Folder of the contracts' files.")]


@app.command()
def build(
    symbol: OneSymbol,
    data_dir: Folder,
    rule: Annotated[
        str, typer.Option(help="`volume`, `open interest`, or `calendar N`: sessions before the end.")
    ],
    source: SourceName = None,
    expiries: Annotated[
        Path | None, typer.Option(help="CSV of contract,date: last sessions, for contracts that still trade.")
    ] = None,
) -> None:
    """Build or extend the roll table of a symbol; rows that are there stay as they are."""
    book, declared = _declared(symbol, data_dir, source)
    chosen, path = RollRule.parse(rule), table_path(data_dir, symbol)
    known = RollTable.read(path, symbol) if path.exists() else None
    contracts = _contracts(symbol, data_dir, declared, book, weigh=chosen.kind == "open interest")
    tick, session = book.instrument(symbol).tick_size, _session(symbol, declared, book)
    table = build_table(symbol, contracts, session, tick, chosen, known=known, expiries=_expiries(expiries))
    table.write(path)
    added = len(table.rolls) - (len(known.rolls) if known else 0)
    console = Console()
    console.print(_table(table, {}))
    console.print(f"{path}: {added} rolls added, {len(table.rolls)} in all")


@app.command()
def show(symbol: OneSymbol, data_dir: Folder, source: SourceName = None) -> None:
    """Show the roll table of a symbol, and where the contracts' files no longer bear it out (exit code 1)."""
    book, declared = _declared(symbol, data_dir, source)
    table = RollTable.read(table_path(data_dir, symbol), symbol)
    weigh = any(each.rule == "open interest" for each in table.rolls)
    contracts = _contracts(symbol, data_dir, declared, book, weigh=weigh)
    found = differences(table, contracts, book.instrument(symbol).tick_size)
    Console().print(_table(table, {roll.at: text for roll, text in found}))
    if found:
        raise typer.Exit(DIFFERENT)


def _declared(symbol: str, folder: Path, name: str | None) -> tuple[InstrumentBook, Source]:
    """Return the book, and the one source of contracts in the folder; ConfigError where there is none."""
    if not folder.is_dir():
        raise DataError(f"data folder {folder}: not a folder; check the path")
    book = load_instruments()
    book.instrument(symbol)
    if name is not None:
        declared = [book.source_named(name)]
    else:
        declared = [each for each in book.sources.values() if each.matches(folder) and each.holds(symbol)]
    of_contracts = [each for each in declared if each.has_contracts]
    if len(of_contracts) != 1:
        said = ", ".join(each.name for each in of_contracts or declared) or "none"
        raise ConfigError(
            f"{symbol} in folder {folder}: needs one source of contracts, with {{contract}} in "
            f"its `file`; there is "
            f"{said}; declare one, or name it with --source"
        )
    return book, of_contracts[0]


def _session(symbol: str, source: Source, book: InstrumentBook) -> Session:
    return book.session_named(source.session or book.instrument(symbol).session)


def _contracts(
    symbol: str, folder: Path, source: Source, book: InstrumentBook, *, weigh: bool
) -> dict[str, Daily]:
    """Read each contract by sessions; weigh   by open interest."""
    session = _session(symbol, source, book)
    by_interest = source.model_copy(update={"columns": {**source.columns, "volume": ("openinterest",)}})
    found = {}
    for name, path in source.contracts(symbol, folder).items():
        bars = read_contract(path, symbol=symbol, source=source, session=session).data
        weights = (
            read_contract(path, symbol=symbol, source=by_interest, session=session).data if weigh else None
        )
        found[name] = by_session(bars, session, weights)
    return found


def _expiries(path: Path | None) -> dict[str, date]:
    if path is None:
        return {}
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        return {
            name.strip(): date.fromisoformat(day.strip()) for name, day in rows if name.strip() != "contract"
        }
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}; a line is contract,date, such as ESH24,2024-03-15") from error


def _table(table: RollTable, different: dict[date, str]) -> TextTable:
    shown = TextTable(
        "from", "to", "first session", number("spread, ticks"), "rule", "the files", title=table.symbol
    )
    for each in table.rolls:
        spread = "open" if each.spread is None else f"{each.spread:+d}"
        shown.add_row(each.before, each.to, str(each.at), spread, each.rule, different.get(each.at, ""))
    return shown
