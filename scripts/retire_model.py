"""Withdraw a version for good: `retire_model.py ES v1 --reason TEXT`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from lockstep.console import run
from lockstep.market.command_line import App
from lockstep.models import ModelStore
from lockstep.models.command_line import By, Json, Name, Store, Symbol, Version, actor, show_change
from lockstep.models.manifest import VETO

app = App()


@app.command()
def retire(
    symbol: Symbol,
    version: Version,
    reason: Annotated[str, typer.Option(help="Why it must not be used again; it goes into the history.")],
    by: By = "",
    name: Name = VETO,
    store: Store = None,
    json: Json = False,
) -> None:
    """Retire a version that is not in production, and print what changed; its file stays."""
    change = ModelStore(store).retire(
        symbol, version, by=actor(by), now=datetime.now(UTC), reason=reason, name=name
    )
    show_change(change, as_json=json)


if __name__ == "__main__":
    run(app)
