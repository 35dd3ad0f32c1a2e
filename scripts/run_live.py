"""Run the live engine: `run_live.py --config configs/live.yml [--mode paper|shadow|live]`."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from lockstep.console import run
from lockstep.live.logs import configure_logs, guard_process
from lockstep.live.messages import Mode
from lockstep.live.secret import Secrets
from lockstep.live.service import Service

app = typer.Typer(add_completion=False)


@app.command()
def main(
    config: Annotated[Path, typer.Option(help="What to trade, and how.")] = Path("configs/live.yml"),
    mode: Annotated[Mode | None, typer.Option(help="None: the file's.")] = None,
    log: Annotated[Path | None, typer.Option(help="Log file of JSON lines; none: stderr.")] = None,
    stop_after: Annotated[int | None, typer.Option(min=1, help="Stop after so many bar sets.")] = None,
) -> None:
    """Trade until SIGTERM or SIGINT; the present bar set is finished and journaled first."""
    secrets = Secrets(os.environ)
    guard_process(secrets)
    handler = configure_logs(secrets, log)
    try:
        with Service(
            config, mode=mode, environment=os.environ, stop_after=stop_after, secrets=secrets
        ) as service:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda received, _: service.stop(signal.Signals(received).name))
            service.run()
    finally:
        handler.close()


if __name__ == "__main__":
    run(app)
