"""Copy a version from another store: `fetch_model.py ES v3 --from FOLDER`.

The store is pinned: its manifest is signed by a key that this one trusts (`model_keys.py`), or `--sha256` is
the bundle's hash, told by another channel than the folder.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lockstep.console import run
from lockstep.models import ModelStore
from lockstep.models.command_line import By, Json, Name, Store, Symbol, Version, actor, print_json
from lockstep.models.manifest import VETO

app = typer.Typer(add_completion=False)


@app.command()
def fetch(
    symbol: Symbol,
    version: Version,
    source: Annotated[Path, typer.Option("--from", help="Folder of the other store.")],
    sha256: Annotated[str | None, typer.Option(help="Hash of the bundle; none: the store is signed.")] = None,
    by: By = "",
    name: Name = VETO,
    store: Store = None,
    json: Json = False,
) -> None:
    """Fetch a version as a candidate; evidence and reports come along from a signed store only."""
    target = ModelStore(store)
    found = target.fetch(
        ModelStore(source), symbol, version, sha256=sha256, name=name, by=actor(by), now=datetime.now(UTC)
    )
    entry = target.manifest().entry(symbol, found, name)
    line = f"{symbol} {name}: fetched {found}, {entry.status}, SHA-256 {entry.sha256}"
    print_json({"version": found, **entry.model_dump(mode="json")}) if json else print(line)


if __name__ == "__main__":
    run(app)
