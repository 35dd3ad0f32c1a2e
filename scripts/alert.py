"""Send one alert from outside the engine: `alert.py --kind stop "engine failed"`. For units that watch it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, get_args

import typer

from lockstep.console import run
from lockstep.errors import ConfigError
from lockstep.live.logs import guard_process
from lockstep.live.secret import Secrets
from lockstep.market.validation import suggestion
from lockstep.monitoring.alerts import Alert, Kind
from lockstep.monitoring.discord import DiscordSink

app = typer.Typer(add_completion=False)


@app.command()
def alert(
    text: Annotated[str, typer.Argument(help="What happened.")],
    kind: Annotated[str, typer.Option(help="One of the kinds of alerts.")] = "stop",
    url_file: Annotated[
        Path | None, typer.Option(help="File with the webhook; none: DISCORD_WEBHOOK_URL.")
    ] = None,
) -> None:
    """Post `text` to the Discord webhook; exit code 2 when it cannot be delivered."""
    if kind not in get_args(Kind):
        raise ConfigError(f"kind {kind!r}{suggestion(kind, get_args(Kind))}")
    secrets = Secrets(os.environ)
    guard_process(secrets)
    url = secrets.read("Discord webhook", variable="DISCORD_WEBHOOK_URL", file=url_file)
    DiscordSink(url).send(Alert(kind, secrets.scrub(text), time.time_ns()))  # type: ignore[arg-type]


if __name__ == "__main__":
    run(app)
