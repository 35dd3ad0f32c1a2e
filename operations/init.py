"""`lockstep init`: a desk folder outside the checkout, ready to backtest, train and trade on paper."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from lockstep.console import own_command
from lockstep.desk import MARKER
from lockstep.errors import ConfigError
from lockstep.market.config import shipped_config

_FOLDERS = ("store", "results", "data", "live")

app = typer.Typer(add_completion=False)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make; it may exist, if empty.")],
) -> None:
    """Make a desk: instruments, a strategy, training and live configurations, model store and results.

    Every command that runs in the folder, or below it, uses its files.
    """
    root = make_desk(folder)
    typer.echo(f"desk: {root}")
    for path in sorted(path.relative_to(root) for path in root.rglob("*.y*ml")):
        typer.echo(f"  {path}")
    typer.echo(f"\ncd {root}")
    for words in (
        ("backtest", "--symbol", "COMP"),
        ("train", "--config", "training/COMP.yml"),
        ("validate", "COMP"),
        ("certify", "--symbol", "COMP", "--version", "v1"),
        ("promote", "COMP", "v1"),
        ("live",),
    ):
        typer.echo(own_command(*words, folder=root))


def make_desk(folder: Path) -> Path:
    """Create a desk and return its absolute path; ConfigError where the folder holds anything.

    It appears whole or not at all: it is made beside its place and renamed.
    """
    root = folder.expanduser().absolute()
    if root.exists() and not root.is_dir():
        raise ConfigError(f"{folder}: is a file; name a new or empty folder")
    if root.is_dir() and any(root.iterdir()):
        already = "a desk already" if (root / MARKER).is_file() else "not empty"
        raise ConfigError(f"{folder}: is {already}; name a new or empty folder")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made: {error.strerror}") from error
    try:
        _fill(draft)
        draft.chmod(0o755)
        draft.rename(root)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise ConfigError(f"{folder}: cannot be made: {error.strerror}") from error
    return root


def _fill(draft: Path) -> None:
    template = shipped_config(f"desk/{MARKER}").parent
    for path in sorted(template.rglob("*")):
        if path.is_file() and path.suffix in (".yml", ".yaml"):
            target = draft / path.relative_to(template)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    for name in _FOLDERS:
        (draft / name).mkdir()
