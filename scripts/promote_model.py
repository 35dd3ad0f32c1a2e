"""Make a version of a model the one in production: `promote_model.py ES v3 --reason TEXT`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from lockstep.console import run
from lockstep.market.command_line import App
from lockstep.models import ModelStore
from lockstep.models.command_line import By, Json, Name, Reason, Store, Symbol, Version, actor, show_change
from lockstep.models.manifest import VETO

app = App()


@app.command()
def promote(
    symbol: Symbol,
    version: Version,
    by: By = "",
    reason: Reason = "",
    force: Annotated[bool, typer.Option("--force", help="Without the evidence; needs --reason.")] = False,
    name: Name = VETO,
    store: Store = None,
    json: Json = False,
) -> None:
    """Promote a version that has the evidence which the store's policy asks for, and print what changed."""
    change = ModelStore(store).promote(
        symbol, version, by=actor(by), now=datetime.now(UTC), reason=reason, force=force, name=name
    )
    show_change(change, as_json=json)


if __name__ == "__main__":
    run(app)
