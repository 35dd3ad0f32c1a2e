"""List the models of a store, or show the portfolio: `list_models.py --portfolio [FILE]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.console import run
from lockstep.market.command_line import SYMBOL_FLAGS, App
from lockstep.market.config import load_instruments
from lockstep.models import ModelStore, load_portfolio
from lockstep.models import listing as shown
from lockstep.models.command_line import Json, Store, print_json

app = App()


@app.command()
def list_models(
    path: Annotated[Path | None, typer.Argument(help="Portfolio file, with --portfolio.")] = None,
    symbol: Annotated[str | None, typer.Option(*SYMBOL_FLAGS, help="This instrument only.")] = None,
    portfolio: Annotated[bool, typer.Option("--portfolio", help="Show the portfolio file.")] = False,
    store: Store = None,
    json: Json = False,
) -> None:
    """Print the versions of the store, or the portfolio with the versions that it means now."""
    manifest = shown.chosen_instruments(ModelStore(store).manifest(), symbol)
    content = manifest.model_dump(mode="json", by_alias=True, exclude={"history"})
    tables = (shown.versions_table(manifest),)
    if portfolio:
        content = shown.portfolio_content(load_portfolio(path, book=load_instruments()), manifest)
        tables = shown.portfolio_tables(content)
    print_json(content) if json else Console().print(*tables, sep="\n")


if __name__ == "__main__":
    run(app)
