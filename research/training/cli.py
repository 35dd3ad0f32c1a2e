"""The command that trains a model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.desk import results_folder
from lockstep.market.command_line import App, Cluster, DataDir
from research.training.config import load_training
from research.training.run import Task
from research.training.screen import train_and_register

train_app = App()


@train_app.command()
def train(
    config: Annotated[Path, typer.Option(help="Training YAML, such as configs/training/COMP.yml.")],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the run folders.",
            default_factory=partial(results_folder, "training"),
            show_default="results/training",
        ),
    ],
    strategy: Annotated[
        Path | None, typer.Option(help="Strategy YAML to train for; default: the training file's.")
    ] = None,
    data_dir: DataDir = None,
    trials: Annotated[int | None, typer.Option(help="Search steps; default: the config's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of search and estimators.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted run.")] = False,
    jobs: Annotated[int, typer.Option(help="Processes; -1: one per core. Does not affect the result.")] = -1,
    cluster: Cluster = None,
    store: Annotated[Path | None, typer.Option(help="Model store; default: the usual one.")] = None,
    by: Annotated[str | None, typer.Option(help="Your name; default: the current user.")] = None,
) -> None:
    """Search, fit and evaluate; every step is counted as a trial and stored for --resume."""
    task = Task(
        config=load_training(config, strategy=strategy).with_trials(trials), config_path=str(config),
        data_dir=data_dir, seed=seed, jobs=jobs, cluster=cluster, resume=resume, out=out,
    )  # fmt: skip
    train_and_register(task, store, Console(), by=by)
