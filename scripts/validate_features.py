"""Check features of one month against a second source: exit code 0 within 5 %, 1 not, 2 refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.console import run
from lockstep.market.command_line import App, OneSymbol
from lockstep.market.timeframe import Timeframe
from research.validation.feature_check import DEFAULT_IDS, check_features
from research.validation.feature_page import write_page
from research.validation.feature_tables import print_check

app = App()


@app.command()
def check(
    symbol: OneSymbol,
    month: Annotated[str, typer.Option(help="Month of session dates, YYYY-MM.")],
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the files; none: embedded data.")] = None,
    against: Annotated[Path | None, typer.Option(help="File of bars or of values by id.")] = None,
    features: Annotated[str, typer.Option(help="Ids, separated by commas.")] = ",".join(DEFAULT_IDS),
    timeframe: Annotated[str | None, typer.Option(help="1min, 1h, 1d …; none: that of the file.")] = None,
    source: Annotated[str | None, typer.Option(help="Name of a source; none: by folder name.")] = None,
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = Path("results"),
) -> None:
    """Print the features of a month, plot them, and compare them with a second source."""
    ids = tuple(each.strip() for each in features.split(",") if each.strip())
    frame = None if timeframe is None else Timeframe.parse(timeframe)
    found = check_features(symbol, month, data_dir, ids=ids, against=against, timeframe=frame, source=source)
    print_check(Console(), found, write_page(found, out))
    raise typer.Exit(0 if found.passed else 1)


if __name__ == "__main__":
    run(app)
