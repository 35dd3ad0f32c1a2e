"""The command that declares a data file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.errors import ConfigError
from lockstep.market.command_line import SYMBOL_FLAGS, reading_instruments, target_file
from lockstep.market.reading.guess import COLUMN, SELECT
from lockstep.market.reading.layouts import PRESETS
from lockstep.settings import suggestion
from research.utils.add_source import SourceRequest, add_source

_MARKS = {"point": ".", "comma": ","}

add_app = typer.Typer(add_completion=False)


@add_app.command()
def add(
    file: Annotated[Path, typer.Argument(help="The data file: CSV, text or parquet, also gzipped.")],
    symbol: Annotated[
        str, typer.Option(*SYMBOL_FLAGS, help="Symbol of the file; default: from its name.")
    ] = "",
    name: Annotated[str, typer.Option(help="Name of the source; default: folder and timeframe.")] = "",
    like: Annotated[str, typer.Option(help="Vendor: mt5, kibot, firstrate …; default: by its columns.")] = "",
    timezone: Annotated[str, typer.Option(help="Time zone of the stamps, such as America/New_York.")] = "",
    stamp: Annotated[str, typer.Option(help="Whether a stamp is a bar's open or close.")] = "",
    stamp_format: Annotated[str, typer.Option(help="strptime format, such as %d/%m/%Y %H:%M.")] = "",
    timeframe: Annotated[str, typer.Option(help="1min, 1h, 1d …; default: from the stamps.")] = "",
    separator: Annotated[str, typer.Option(help="Column separator.")] = "",
    decimal: Annotated[str, typer.Option(help="Decimal mark of prices: point or comma.")] = "",
    thousands: Annotated[str, typer.Option(help="Thousands separator.")] = "",
    column: Annotated[
        list[str] | None, typer.Option(help="Our name = theirs: open=First; join several with +.")
    ] = None,
    select: Annotated[list[str] | None, typer.Option(help="Rows of the series: contract=ESH4.")] = None,
    adjustment: Annotated[str, typer.Option(help="Price adjustment: none, difference or ratio.")] = "",
    instruments: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your instruments file; default: the usual one.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; fail on open questions.")] = False,
) -> None:
    """Guess a file's layout, show its bars, ask about open questions, and write the source."""
    given = {
        "like": like, "timezone": timezone, "stamp": stamp, "stamp_format": stamp_format,
        "timeframe": timeframe, "separator": "\t" if separator == "tab" else separator,
        "decimal": _MARKS.get(decimal, decimal), "thousands": thousands,
        **_pairs("--column", COLUMN, column), **_pairs("--select", SELECT, select),
    }  # fmt: skip
    if like and like not in PRESETS:
        raise ConfigError(f"--like {like}: no such vendor{suggestion(like, PRESETS)}")
    target = target_file(instruments)
    request = SourceRequest(
        file=file, target=target, symbol=symbol, name=name, adjustment=adjustment, yes=yes,
        usual=instruments is None,
        known={key: value for key, value in given.items() if value},
    )  # fmt: skip
    with reading_instruments(str(target) if target.is_file() else ""):
        add_source(request, Console(), _ask)


def _pairs(option: str, prefix: str, given: list[str] | None) -> dict[str, str]:
    for each in given or ():
        if "=" not in each:
            raise ConfigError(f"{option} {each}: write it as NAME=VALUE")
    return {
        f"{prefix}{name.strip()}": value for name, _, value in (each.partition("=") for each in given or ())
    }


def _ask(text: str, likely: str) -> str:
    *above, question = text.splitlines() if "\n" not in text else (text, "Answer")
    for line in above:
        typer.echo(line)
    return str(typer.prompt(question, default=likely or None, prompt_suffix=" "))
