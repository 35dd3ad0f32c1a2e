"""Run a desk on paper, kill it on the way, start it again: `python -m certify.paper_demo live.yml FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certify.live_run import run_killed
from lockstep.console import run
from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal

app = typer.Typer(add_completion=False)


@app.command()
def main(
    config: Annotated[Path, typer.Argument(help="live.yml of the desk.")],
    folder: Annotated[Path, typer.Argument(help="Folder of its logs.")],
    kill_after: Annotated[int, typer.Option(min=1, help="Bar sets before the SIGKILL.")] = 100,
) -> None:
    """Let the engine run to the end of its replay, with one SIGKILL on the way."""
    settings = LiveConfig.load(config)
    folder.mkdir(parents=True, exist_ok=True)
    for path in (settings.journal, settings.status):
        path.parent.mkdir(parents=True, exist_ok=True)
    killed = run_killed(config, settings.journal, folder, [kill_after])
    with Journal.open(settings.journal, readonly=True) as journal:
        sets = sum(1 for _ in journal.select("SELECT 1 FROM sets"))
        starts = list(journal.events("start"))
    after = ", ".join(map(str, killed)) or "never"
    replayed = starts[-1].content["replayed"] if starts else 0
    restarts = len(starts) - 1
    times = "once" if restarts == 1 else f"{restarts} times"
    print(f"{sets} bar sets; killed by SIGKILL after {after}, restarted {times};")
    print(f"the last start replayed {replayed} sets, compared them with the journal, and went on.")


if __name__ == "__main__":
    run(app)
