"""The command that trains a historical version again: a veto, or a model of the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.market.command_line import App
from lockstep.models.command_line import Name
from lockstep.models.manifest import VETO
from lockstep.models.store import ModelStore
from research.training import rebuild as vetoes
from research.zoo import rebuild as zoo

app = App()


@app.command()
def rebuild(
    symbol: Annotated[str, typer.Argument(help="Symbol, for example ES.")],
    version: Annotated[str, typer.Argument(help="Version, for example v2, or production.")],
    name: Name = VETO,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the data files; default: the recorded one.")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Model store; default: the usual one.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes; -1: one per core. Does not affect the result.")] = -1,
) -> None:
    """Retrain with the recorded code, configuration, bars and seed, and compare the bundles."""
    entry = ModelStore(store).manifest().entry(symbol, version, name)
    if entry.of_zoo:
        found = zoo.rebuild_anywhere(entry.record, data_dir)
    else:
        found = vetoes.rebuild_anywhere(entry.record, data_dir, jobs=jobs)
    console = Console(soft_wrap=True, highlight=False)
    for sentence in (*found.differences, *found.remarks):
        console.print(sentence)
    what = symbol if name == VETO else f"{symbol} {name}"
    console.print(f"{what} {version}: {found.verdict(entry.sha256)}")
    raise typer.Exit(0 if found.sha256 == entry.sha256 else 1)
