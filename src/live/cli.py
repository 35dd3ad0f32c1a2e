"""Commands around a running engine: its status, and an alert from outside."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console

from lockstep.desk import desk_folder
from lockstep.errors import ConfigError
from lockstep.live.status.logs import guard_process
from lockstep.live.status.status import read_status, status_table, to_json
from lockstep.monitoring.alerts import Alert, Kind
from lockstep.monitoring.discord import DiscordSink
from lockstep.secrets import Secrets
from lockstep.settings import suggestion

status_app = typer.Typer(add_completion=False)


def _status_file() -> Path:
    desk = desk_folder()
    return Path("live/status.json") if desk is None else desk.live_path("status")


@status_app.command()
def show(
    file: Annotated[
        Path,
        typer.Option(
            envvar="LOCKSTEP_STATUS",
            help="The engine's status file.",
            default_factory=_status_file,
            show_default="live/status.json",
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print the file's JSON instead of a table.")] = False,
    stale: Annotated[
        float, typer.Option(min=0, help="Seconds without a heartbeat after which it is stale.")
    ] = 60.0,
) -> None:
    """Print the status; exit code 1 if somebody should look.

    That is: the engine is stopped, stale, or found a mismatch; or its monitor has an ALARM that nobody has
    acknowledged, found a broken feature, or has itself not run for too long.
    """
    status, now = read_status(file), time.time_ns()
    if json:
        print(to_json(status, now), end="")
    else:
        Console().print(status_table(status, now, stale_seconds=stale))
    sys.exit(1 if status.attention(now, stale_seconds=stale) else 0)


alert_app = typer.Typer(add_completion=False)


@alert_app.command()
def alert(
    text: Annotated[str, typer.Argument(help="Text of the alert.")],
    kind: Annotated[str, typer.Option(help="One of the kinds of alerts.")] = "stop",
    url_file: Annotated[
        Path | None, typer.Option(help="File with the webhook; default: DISCORD_WEBHOOK_URL.")
    ] = None,
) -> None:
    """Post `text` to the Discord webhook; exit code 2 if it cannot be delivered."""
    if kind not in get_args(Kind):
        raise ConfigError(f"kind {kind!r}{suggestion(kind, get_args(Kind))}")
    secrets = Secrets(os.environ)
    guard_process(secrets)
    url = secrets.read("Discord webhook", variable="DISCORD_WEBHOOK_URL", file=url_file)
    DiscordSink(url).send(Alert(kind, secrets.scrub(text), time.time_ns()))  # type: ignore[arg-type]
