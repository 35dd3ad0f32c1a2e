"""Commands on the model store alone: list, roll back, retire, fetch, keys."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.market.command_line import SYMBOL_FLAGS, App, renamed
from lockstep.models import ModelStore
from lockstep.models import listing as shown
from lockstep.models.command_line import (
    By,
    Json,
    Name,
    Store,
    Symbol,
    Version,
    actor,
    print_json,
    show_change,
)
from lockstep.models.manifest import VETO
from lockstep.models.sources import new_key, read_key, sign, trust

list_app = App()


@list_app.command()
def list_models(
    symbol: Annotated[str | None, typer.Option(*SYMBOL_FLAGS, help="Only this instrument.")] = None,
    store: Store = None,
    json: Json = False,
) -> None:
    """Print the versions of the store."""
    manifest = shown.chosen_instruments(ModelStore(store).manifest(), symbol)
    if json:
        print_json(manifest.model_dump(mode="json", by_alias=True, exclude={"history"}))
        return
    Console().print(shown.versions_table(manifest))


rollback_app = App()


@rollback_app.command(cls=renamed({"--to": "--version"}))
def rollback(
    symbol: Symbol,
    reason: Annotated[str, typer.Option(help="What was wrong; recorded in the history.")],
    to: Annotated[str | None, typer.Option("--version", help="Version; default: the previous one.")] = None,
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


retire_app = App()


@retire_app.command()
def retire(
    symbol: Symbol,
    version: Version,
    reason: Annotated[str, typer.Option(help="Why it must not be used again; recorded in the history.")],
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


fetch_app = typer.Typer(add_completion=False)


@fetch_app.command()
def fetch(
    symbol: Symbol,
    version: Version,
    source: Annotated[Path, typer.Option("--from", help="Folder of the other store.")],
    sha256: Annotated[
        str | None, typer.Option(help="Hash of the bundle; required unless the store is signed.")
    ] = None,
    by: By = "",
    name: Name = VETO,
    store: Store = None,
    json: Json = False,
) -> None:
    """Fetch a version as a candidate; evidence and reports only from a signed store."""
    target = ModelStore(store)
    found = target.fetch(
        ModelStore(source), symbol, version, sha256=sha256, name=name, by=actor(by), now=datetime.now(UTC)
    )
    entry = target.manifest().entry(symbol, found, name)
    line = f"{symbol} {name}: fetched {found}, {entry.status}, SHA-256 {entry.sha256}"
    print_json({"version": found, **entry.model_dump(mode="json")}) if json else print(line)


keys_app = typer.Typer(add_completion=False, no_args_is_help=True)
KeyFile = Annotated[Path, typer.Argument(help="File of the secret key; readable only by its owner.")]


@keys_app.command("new")
def new(key: KeyFile) -> None:
    """Make a secret key."""
    print(f"{key}: key {new_key(key).id}; copy it to where models are fetched, and keep it secret")


@keys_app.command("sign")
def sign_store(key: KeyFile, store: Store = None) -> None:
    """Sign the current manifest of a store; every later change needs a new signature."""
    folder, found = ModelStore(store).folder, read_key(key)
    sign(folder, found)
    print(f"{folder}: signed with key {found.id}")


@keys_app.command("trust")
def trust_key(
    name: Annotated[str, typer.Argument(help="Name of the other store.")],
    key: KeyFile,
    store: Store = None,
) -> None:
    """Trust a key: let a store fetch what it signed."""
    folder = ModelStore(store).folder
    print(f"{folder}: trusts what {name} signs, key {trust(folder, name, key).id}")
