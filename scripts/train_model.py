"""Train the model of one instrument and register it as a candidate: exit code 0, or 2 refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.console import run
from lockstep.market.command_line import App
from research.training.command import train_and_register
from research.training.config import load_training
from research.training.run import Task

app = App()


@app.command()
def train(
    config: Annotated[Path, typer.Option(help="Training YAML, such as configs/training/COMP.yml.")],
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the files; none: embedded data.")] = None,
    trials: Annotated[int | None, typer.Option(help="Search steps; none: the config's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of search and estimators.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run was interrupted.")] = False,
    jobs: Annotated[int, typer.Option(help="Processes; -1: one per core. Changes no result.")] = -1,
    store: Annotated[Path | None, typer.Option(help="Model store; none: the default one.")] = None,
    by: Annotated[str | None, typer.Option(help="Who; none: the user that runs this.")] = None,
    out: Annotated[Path, typer.Option(help="Where run folders go.")] = Path("results/training"),
) -> None:
    """Search, fit and evaluate; every step is counted as a trial and stored for --resume."""
    task = Task(
        config=load_training(config).with_trials(trials), config_path=str(config), data_dir=data_dir,
        seed=seed, jobs=jobs, resume=resume, out=out,
    )  # fmt: skip
    train_and_register(task, store, Console(), by=by)


if __name__ == "__main__":
    run(app)
