"""What the live engine is doing: `status.py [--json]`. Exit code 0 fine, 1 look at it, 2 no status."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.console import run
from lockstep.live.status import read_status, to_json
from lockstep.live.status_table import status_table

app = typer.Typer(add_completion=False)


@app.command()
def show(
    file: Annotated[Path, typer.Option(envvar="LOCKSTEP_STATUS", help="The engine's status file.")] = Path(
        "live/status.json"
    ),
    json: Annotated[bool, typer.Option("--json", help="Print the file's JSON instead of a table.")] = False,
    stale: Annotated[
        float, typer.Option(min=0, help="Seconds without a heartbeat that are too many.")
    ] = 60.0,
) -> None:
    """Print the status; exit 1 when the engine is stopped, stale, or found a mismatch."""
    status, now = read_status(file), time.time_ns()
    if json:
        print(to_json(status), end="")
    else:
        Console().print(status_table(status, now, stale_seconds=stale))
    sys.exit(1 if status.trouble(now, stale_seconds=stale) else 0)


if __name__ == "__main__":
    run(app)
