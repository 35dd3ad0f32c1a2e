"""Commands that evaluate: `grid-search`, `resume`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.market.command_line import Symbols
from research.experiments.cli_results import symbols_of
from research.experiments.database import Database
from research.experiments.evaluation import on_cluster
from research.experiments.execution import Lab
from research.experiments.listener import Listener
from research.experiments.plan import Plan
from research.experiments.planning import (
    Choices,
    estimate,
    make_plan,
    require_affordable,
    require_selectable,
)
from research.experiments.progress import on_screen
from research.experiments.service import judged, verified_ranking
from research.experiments.store import Record
from research.experiments.tables import print_judgement, print_summary, print_top

_INTERRUPTED = 130

Cluster = Annotated[str | None, typer.Option(help="Dask scheduler, tcp://host:8786; none: this machine.")]
Date = Annotated[str | None, typer.Option(help="Session date YYYY-MM-DD; none: the grid file's.")]


def grid_search(
    name: Annotated[str, typer.Option(help="Names the experiment in lists.")],
    strategy_path: Annotated[
        Path, typer.Option(help="Strategy YAML whose values hold where the grid says nothing.")
    ],
    grid_path: Annotated[Path, typer.Option(help="Grid YAML: parameters, symbols, split.")],
    train_start: Date = None,
    train_end: Date = None,
    test_start: Date = None,
    test_end: Date = None,
    holdout_start: Date = None,
    holdout_end: Date = None,
    symbols: Symbols = "",
    random: Annotated[int | None, typer.Option(help="Draw so many combinations instead of all.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    walk_forward: Annotated[
        str | None, typer.Option(help="train/test/step: 4y/1y/1y, or days 365/90/30.")
    ] = None,
    anchored: Annotated[bool, typer.Option(help="Training windows grow instead of rolling.")] = False,
    select_by: Annotated[
        str | None, typer.Option(help="sharpe, cagr, sortino or calmar, on the test range.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the files; none: embedded data.")] = None,
    source: Annotated[str | None, typer.Option(help="Name of a source; none: by folder name.")] = None,
    cluster: Cluster = None,
    budget: Annotated[float, typer.Option(help="Seconds that a search may take without --yes.")] = 600.0,
    yes: Annotated[bool, typer.Option("--yes", help="Run it however long it takes.")] = False,
) -> None:
    """Evaluate every combination of a grid (or a random draw) and show the best, checked in Backtrader."""
    require_selectable(select_by)
    dates = {
        "train_start": train_start, "train_end": train_end, "test_start": test_start, "test_end": test_end,
        "holdout_start": holdout_start, "holdout_end": holdout_end,
    }  # fmt: skip
    choices = Choices(
        name=name,
        symbols=symbols_of(symbols, (strategy_path,), data_dir, source) if symbols else (),
        dates={flag: value for flag, value in dates.items() if value is not None},
        sample=random,
        seed=seed,
        walk_forward=walk_forward,
        anchored=anchored,
        select_by=select_by,
        data_dir=None if data_dir is None else str(data_dir),
        source=source,
    )
    plan = make_plan(strategy_path, grid_path, choices)
    lab = Lab(database=Database.open(), evaluator=on_cluster(cluster))
    if not yes:
        require_affordable(plan, estimate(plan, _bars(lab, plan), lab.store.records()), budget)
    _carry_out(Console(), lab, plan, lambda listener: lab.run(plan, listener))


def resume(
    number: Annotated[int, typer.Argument(metavar="ID", help="Number of the experiment.")],
    cluster: Cluster = None,
) -> None:
    """Do what is missing of an experiment that was interrupted, at whatever moment."""
    lab = Lab(database=Database.open(), evaluator=on_cluster(cluster))
    plan = lab.store.record(number).plan
    _carry_out(Console(), lab, plan, lambda listener: lab.resume(number, listener))


def _bars(lab: Lab, plan: Plan) -> int:
    """Return the bars that one variant walks over on the first symbol, all windows together."""
    data = lab.data(plan, plan.symbols[0])
    return sum(
        data.bars_in(plan.strategy, dates) for window in plan.windows for dates in (window.train, window.test)
    )


def _carry_out(console: Console, lab: Lab, plan: Plan, run: Callable[[Listener], Record]) -> None:
    try:
        with on_screen(console, plan) as listener:
            record = run(listener)
    except KeyboardInterrupt:
        newest = lab.store.records()
        number = newest[-1].id if newest else 0
        console.print(f"interrupted; nothing that was stored is lost: `resume {number}` does the rest")
        raise typer.Exit(_INTERRUPTED) from None
    print_summary(console, lab.store, record)
    ranked = verified_ranking(lab, record)
    print_top(console, record, ranked, plan.select_by)
    print_judgement(console, judged(lab, record, ranked[0]))
    console.print(
        f"`show {record.id} --export html` draws it, `promote {record.id} --output-name NAME` promotes it"
    )
