"""Keys that vouch for the models of another store: make one, sign a store with it, trust it in another.

model_keys.py new desk.key                          where models are trained; copy the file by a safe way
model_keys.py sign desk.key --store models          there, after every change of the manifest
model_keys.py trust desk desk.key --store engine    where they are traded
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockstep.console import run
from lockstep.models import ModelStore
from lockstep.models.command_line import Store
from lockstep.models.sources import new_key, read_key, sign, trust

app = typer.Typer(add_completion=False, no_args_is_help=True)
KeyFile = Annotated[Path, typer.Argument(help="File of the secret key; its owner alone may read it.")]


@app.command("new")
def new(key: KeyFile) -> None:
    """Make a secret key."""
    print(f"{key}: key {new_key(key).id}; copy it to where models are fetched, and keep it secret")


@app.command("sign")
def sign_store(key: KeyFile, store: Store = None) -> None:
    """Sign the manifest of a store as it is now; a later change needs a new signature."""
    folder, found = ModelStore(store).folder, read_key(key)
    sign(folder, found)
    print(f"{folder}: signed with key {found.id}")


@app.command("trust")
def trust_key(
    name: Annotated[str, typer.Argument(help="What the other store is called here.")],
    key: KeyFile,
    store: Store = None,
) -> None:
    """Let a store fetch what is signed with a key."""
    folder = ModelStore(store).folder
    print(f"{folder}: trusts what {name} signs, key {trust(folder, name, key).id}")


if __name__ == "__main__":
    run(app)
