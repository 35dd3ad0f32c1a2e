"""Put a version into production, or a strategy without a model: what `lockstep promote` does."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lockstep.errors import ConfigError
from lockstep.market.command_line import App
from lockstep.models import ModelStore
from lockstep.models.command_line import By, Json, Name, Reason, Store, actor, print_json, show_change
from lockstep.models.manifest import VETO

CANDIDATE = 1

app = App()

Strategy = Annotated[Path | None, typer.Option(help="A strategy to trade as it is, without a model: YAML.")]
DataDir = Annotated[Path | None, typer.Option(help="With --strategy: folder of the bars; default: embedded.")]
Source = Annotated[str | None, typer.Option(help="With --strategy: source in instruments.yml.")]


@app.command()
def promote(
    symbol: Annotated[str, typer.Argument(help="Instrument, for example ES.")] = "",
    version: Annotated[str, typer.Argument(help="Version, for example v3; omit it with --strategy.")] = "",
    strategy: Strategy = None,
    data_dir: DataDir = None,
    source: Source = None,
    by: By = "",
    reason: Reason = "",
    force: Annotated[
        bool, typer.Option("--force", help="Promote without evidence; requires --reason.")
    ] = False,
    name: Name = VETO,
    store: Store = None,
    json: Json = False,
) -> None:
    """Promote a version with the evidence that the store's policy requires, and print what changed.

    With --strategy, register the strategy of a file as the next version, then promote it. If evidence is
    missing, it stays a candidate (exit code 1): produce the evidence, then run the same command again.
    """
    by = actor(by)
    if strategy is not None:
        _require_alone(version, strategy)
        _release(strategy, symbol, store, data_dir, source, by, reason, force=force, name=name, json=json)
        return
    _require_version(symbol, version, data_dir, source)
    from research.ledger.versions import promote_version

    change = promote_version(
        ModelStore(store),
        symbol,
        version,
        by=by,
        now=datetime.now(UTC),
        reason=reason,
        force=force,
        name=name,
    )
    show_change(change, as_json=json)


def _require_alone(version: str, strategy: Path) -> None:
    if version:
        raise ConfigError(
            f"version {version} and --strategy {strategy}: both select what to promote; give only one of them"
        )


def _require_version(symbol: str, version: str, data_dir: Path | None, source: str | None) -> None:
    if not version:
        what = f"{symbol}: no version" if symbol else "no symbol and no version"
        raise ConfigError(f"{what}: give both, such as ES v3, or the file of a strategy with --strategy")
    for option, value in (("--data-dir", data_dir), ("--source", source)):
        if value is not None:
            raise ConfigError(f"{option} {value}: goes with --strategy; {symbol} {version} has its bundle")


def _release(
    strategy: Path, symbol: str, store: Path | None, data_dir: Path | None, source: str | None, by: str,
    reason: str, *, force: bool, name: str, json: bool,
) -> None:  # fmt: skip
    from research.ledger.database import Database
    from research.ledger.ledger import Ledger
    from research.training.config import load_release
    from research.training.release import promote_strategy

    wanted = load_release(strategy, symbol, source=source)
    found, change, missing = promote_strategy(
        wanted, ModelStore(store), Ledger(Database.open()), by=by, now=lambda: datetime.now(UTC),
        data_dir=data_dir, path=str(strategy), reason=reason, force=force, name=name,
    )  # fmt: skip
    if change is not None:
        show_change(change, as_json=json)
        return
    if json:
        print_json({"symbol": found.symbol, "version": found.version, "new": found.new, "missing": missing})
    else:
        told = "registered as a candidate" if found.new else "is registered already"
        print(f"{found.symbol} {found.version}: {told}")
        for remark in found.remarks:
            print(f"  note: {remark}")
        print(f"  {missing}")
        print("  this gathers it:")
        place = "" if store is None else f" --store {shlex.quote(str(store))}"
        print(f"    lockstep validate {found.symbol} --version {found.version}{place}")
        print(f"    lockstep certify --symbol {found.symbol} --version {found.version}{place}")
    raise typer.Exit(CANDIDATE)
