"""Run the live engine: `run_live.py --config configs/live.yml [--mode paper|shadow|live]`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from lockstep.console import run
from lockstep.live.main import trade
from lockstep.live.messages import Mode
from lockstep.market.command_line import App

app = App()


@app.command()
def main(
    config: Annotated[Path, typer.Option(help="What to trade, and how.")] = Path("configs/live.yml"),
    mode: Annotated[Mode | None, typer.Option(help="None: the file's.")] = None,
    log: Annotated[Path | None, typer.Option(help="Log file of JSON lines; none: stderr.")] = None,
    stop_after: Annotated[int | None, typer.Option(min=1, help="Stop after so many bar sets.")] = None,
) -> None:
    """Trade until SIGTERM or SIGINT; the present bar set is finished and journaled first."""
    trade(config, mode=mode, log=log, stop_after=stop_after, environment=os.environ)


if __name__ == "__main__":
    run(app)
