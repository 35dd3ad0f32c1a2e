"""The command that writes a tear sheet of anybody's results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lockstep.market.command_line import App
from research.report.external import report_of
from research.report.page import percent, ratio
from research.report.tearsheet import write_tearsheet

app = App()


@app.command()
def main(
    results: Annotated[Path, typer.Argument(help="CSV: date and returns, equity or pnl; or trades.")],
    benchmark: Annotated[Path | None, typer.Option(help="Benchmark CSV of prices or returns.")] = None,
    trials: Annotated[
        float | None, typer.Option(help="Number of variants tried; deflates the Sharpe ratio.")
    ] = None,
    capital: Annotated[float | None, typer.Option(help="Starting capital; required for amounts.")] = None,
    kind: Annotated[
        Literal["returns", "equity", "pnl", "trades"] | None,
        typer.Option(help="Kind of results, if column names do not tell."),
    ] = None,
    unit: Annotated[
        Literal["fraction", "percent"] | None, typer.Option(help="Unit of returns, if ambiguous.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column of the values, if there are several.")] = None,
    date_format: Annotated[
        str | None, typer.Option(help="Date format such as %d/%m/%Y; default: ISO.")
    ] = None,
    constant_size: Annotated[
        bool, typer.Option("--constant-size", help="Returns add up instead of compounding.")
    ] = False,
    out_of_sample: Annotated[str | None, typer.Option(help="First out-of-sample date, YYYY-MM-DD.")] = None,
    title: Annotated[str, typer.Option(help="Title of the page; default: the file's name.")] = "",
    out: Annotated[Path, typer.Option(help="File for the page.")] = Path("tearsheet.html"),
    shared_js: Annotated[
        Path | None, typer.Option(help="Folder of the plotting library for many pages.")
    ] = None,
) -> None:
    """Write an honest tear sheet from a returns series, an equity curve or a list of trades."""
    report = report_of(
        results,
        benchmark=benchmark,
        trials=trials,
        capital=capital,
        kind=kind,
        unit=unit,
        column=column,
        date_format=date_format,
        constant_size=constant_size,
        out_of_sample=out_of_sample,
        title=title,
    )
    written = write_tearsheet(report, out, shared_js=shared_js)
    measured = report.metrics
    typer.echo(
        f"{len(report.sessions):,} {report.period}s, {report.dates[0]} to {report.dates[-1]}: "
        f"CAGR {percent(measured['cagr'])}, Sharpe {ratio(measured['sharpe'])}, "
        f"max drawdown {percent(measured['max_drawdown_fraction'])}"
    )
    for note in report.notes:
        typer.echo(note)
    typer.echo(f"tear sheet: {written}")
