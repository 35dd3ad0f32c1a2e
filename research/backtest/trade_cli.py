"""The command that compares your own trade list with a backtest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.errors import ConfigError
from research.backtest.trade_comparison import RunFolder, compare_trades, comparison_table, summary_lines
from research.backtest.trade_list import read_trades

app = typer.Typer(add_completion=False)


@app.command()
def main(
    mine: Annotated[Path, typer.Argument(metavar="MINE.csv", help="Your trades, one row each.")],
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of a backtest.")],
    column: Annotated[list[str] | None, typer.Option(help="ROLE=NAME, such as entry=Opened; repeat.")] = None,
    timezone: Annotated[str | None, typer.Option(help="IANA time zone of times without an offset.")] = None,
    show: Annotated[int, typer.Option(min=1, help="How many differences to print.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Match trades by entry bar, and report what is missing, extra or different, and why.

    Roles: entry, exit, entry_price, exit_price, quantity, side, cost, net_pnl.
    """
    declared = {}
    for each in column or ():
        role, equals, name = each.partition("=")
        if not equals:
            raise ConfigError(f"--column {each}: write ROLE=NAME, for example entry=Opened")
        declared[role] = name
    found = compare_trades(read_trades(mine, timezone=timezone, columns=declared), RunFolder.read(folder))
    if as_json:
        print(found.text)
    else:
        console = Console()
        for line in summary_lines(found):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        if not found.same:
            console.print(comparison_table(found, show))
        if len(found.differences) > show:
            console.print(f"{len(found.differences) - show} more: --show {len(found.differences)}")
    raise typer.Exit(0 if found.same else 1)
