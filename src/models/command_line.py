"""What the commands on a store share: options, who acts, and how a change is shown."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lockstep.models.verbs import Change

Symbol = Annotated[str, typer.Argument(help="Instrument, for example ES.")]
Version = Annotated[str, typer.Argument(help="Version, for example v3.")]
Name = Annotated[str, typer.Option(help="Model name.")]
Store = Annotated[Path | None, typer.Option(help="Folder of the store; default: the usual one.")]
By = Annotated[str, typer.Option(help="Your name; default: the current user.")]
Reason = Annotated[str, typer.Option(help="Reason; recorded in the history.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def actor(by: str) -> str:
    """Return `by`, or the name of the user of this process."""
    return by or getpass.getuser()


def show_change(change: Change, *, as_json: bool) -> None:
    """Print what a verb changed."""
    if as_json:
        print_json(change.model_dump(mode="json"))
        return
    for line in change.lines():
        print(line)


def print_json(content: Any) -> None:
    """Print indented JSON."""
    print(json.dumps(content, indent=2, ensure_ascii=False))
