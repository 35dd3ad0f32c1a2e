"""Judge a model and attach the verdict to the manifest: exit code 0 passed, 1 failed, 2 refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.console import run
from lockstep.market.command_line import App
from lockstep.models.command_line import By, Json, Name, Store, Symbol, actor
from lockstep.models.manifest import VETO
from research.validation.model.command import show, validate_version

app = App()


@app.command()
def validate(
    symbol: Symbol,
    version: Annotated[str, typer.Option(help="Version, for example v3; none: the newest.")] = "",
    store: Store = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the bars; none: the training's.")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Folder of the training run; none: by record.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where reports go; none: `reports` in the store.")] = None,
    by: By = "",
    name: Name = VETO,
    json: Json = False,
) -> None:
    """Ask every check of a version, write the report, and say what passed."""
    report, page = validate_version(
        symbol, version, by=actor(by), store=store, out=out, data_dir=data_dir, run=run_dir, name=name
    )
    show(report, page, Console(), as_json=json)
    raise typer.Exit(0 if report.verdict.passed else 1)


if __name__ == "__main__":
    run(app)
