"""Train a historical version again: exit code 0 the same SHA-256, 1 another, 2 refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.console import run
from lockstep.market.command_line import App
from lockstep.models.store import ModelStore
from research.training.rebuild import rebuild_anywhere

app = App()


@app.command()
def rebuild(
    symbol: Annotated[str, typer.Argument(help="Symbol, for example ES.")],
    version: Annotated[str, typer.Argument(help="Version, for example v2, or production.")],
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the files; none: the recorded one.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Model store; none: the default one.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes; -1: one per core. Changes no result.")] = -1,
) -> None:
    """Use the recorded code, configuration, bars and seed, and say whether the bundle comes out the same."""
    entry = ModelStore(store).manifest().entry(symbol, version)
    found = rebuild_anywhere(entry.record, data_dir, jobs=jobs)
    console = Console(soft_wrap=True, highlight=False)
    for sentence in (*found.differences, *found.remarks):
        console.print(sentence)
    console.print(f"{symbol} {version}: {found.verdict(entry.sha256)}")
    raise typer.Exit(0 if found.sha256 == entry.sha256 else 1)


if __name__ == "__main__":
    run(app)
