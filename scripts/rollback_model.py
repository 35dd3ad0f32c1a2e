"""Go back to the version that was in production before: `rollback_model.py ES --reason TEXT`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from lockstep.console import run
from lockstep.market.command_line import App
from lockstep.models import ModelStore
from lockstep.models.command_line import By, Json, Name, Store, Symbol, actor, show_change
from lockstep.models.manifest import VETO

app = App()


@app.command()
def rollback(
    symbol: Symbol,
    reason: Annotated[str, typer.Option(help="What was wrong; it goes into the history.")],
    to: Annotated[str | None, typer.Option(help="Version; none: the one before.")] = None,
    by: By = "",
    name: Name = VETO,
    store: Store = None,
    json: Json = False,
) -> None:
    """Roll production back, and print what changed."""
    change = ModelStore(store).rollback(
        symbol, to=to, by=actor(by), now=datetime.now(UTC), reason=reason, name=name
    )
    show_change(change, as_json=json)


if __name__ == "__main__":
    run(app)
