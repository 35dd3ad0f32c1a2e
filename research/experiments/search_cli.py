"""The commands that search: `declare`, `grid-search`, `evolve`, `resume`, `replay`, and `lockstep sweep`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import joblib
import typer
from rich.console import Console
from rich.progress import Progress

from lockstep.market.command_line import (
    ALL,
    Cluster,
    DataDir,
    SourceName,
    Symbols,
    chosen_symbols,
    strategy_file,
)
from lockstep.market.config import load_instruments
from lockstep.models.store import ModelStore
from lockstep.strategy.family import load_strategy
from research.experiments.declaration import declare, searched_line
from research.experiments.evaluation import on_cluster
from research.experiments.execution import Lab
from research.experiments.plan import Plan
from research.experiments.planning import (
    Choices,
    estimate,
    make_plan,
    require_affordable,
    require_selectable,
)
from research.experiments.progress import ExperimentListener, on_screen
from research.experiments.replay import replay, replay_lines
from research.experiments.service import searched, verified_ranking
from research.experiments.store import Record
from research.experiments.tables import print_summary, print_top
from research.experiments.why import Why, conclude
from research.ledger.database import Database
from research.ledger.shares import measured
from research.ledger.versions import VersionName, symbols_with
from research.statistics.null_replay import REPLAYS
from research.sweep.cluster import require_workers


def symbols_of(
    text: str,
    strategies: Sequence[Path | VersionName],
    data_dir: Path | None,
    source: str | None,
) -> tuple[str, ...]:
    """Return the symbols of `ES`, `ES,NQ` or `all`; prints what `all` leaves out.

    `all` are those with bars for the first strategy, or with the version.
    """
    first = next((each for each in strategies if isinstance(each, VersionName)), strategies[0])
    if isinstance(first, VersionName):
        chosen = symbols_with(text, first.version, ModelStore(first.store))
    else:
        bars = load_strategy(first).bars if text == ALL else None
        chosen = chosen_symbols(text, load_instruments(), data_dir, timeframe=bars, source=source)
    for line in chosen.skipped:
        Console().print(line, soft_wrap=True, highlight=False, markup=False)
    return chosen.symbols


_INTERRUPTED = 130
_BUDGET = 600.0

Verbose = Annotated[bool, typer.Option("--verbose", help="Also print what the time went into.")]
Criterion = Annotated[str | None, typer.Option(help="sharpe, cagr, sortino or calmar, on the test range.")]
Date = Annotated[str | None, typer.Option(help="Session date YYYY-MM-DD; default: the grid file's.")]


def grid_search(
    name: Annotated[str, typer.Option(help="Name of the experiment in lists.")],
    strategy_path: Annotated[
        Path,
        typer.Option("--strategy", help="Strategy YAML; supplies all values that the grid does not vary."),
    ],
    grid_path: Annotated[Path, typer.Option("--grid", help="Grid YAML: parameters, symbols, split.")],
    train_start: Date = None,
    train_end: Date = None,
    test_start: Date = None,
    test_end: Date = None,
    holdout_start: Date = None,
    holdout_end: Date = None,
    symbols: Symbols = "",
    random: Annotated[
        int | None, typer.Option(help="Number of randomly sampled combinations; default: all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random sample.")] = 0,
    walk_forward: Annotated[
        str | None, typer.Option(help="train/test/step: 4y/1y/1y, or days 365/90/30.")
    ] = None,
    anchored: Annotated[bool, typer.Option(help="Training windows grow instead of roll.")] = False,
    select_by: Criterion = None,
    data_dir: DataDir = None,
    source: SourceName = None,
    cluster: Cluster = None,
    budget: Annotated[
        float, typer.Option(help="Longest estimated duration in seconds without --yes.")
    ] = _BUDGET,
    yes: Annotated[bool, typer.Option("--yes", help="Run regardless of the estimated duration.")] = False,
    why: Why = False,
    verbose: Verbose = False,
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
    require_workers(cluster)
    lab = Lab(database=Database.open(), evaluator=on_cluster(cluster))
    if not yes:
        require_affordable(plan, estimate(plan, _bars(lab, plan), lab.store.records()), budget)
    _carry_out(Console(), lab, plan, lambda listener: lab.run(plan, listener), why=why, verbose=verbose)


def sweep(
    grid_path: Annotated[Path, typer.Option("--grid", help="Grid YAML: parameters, symbols, split.")],
    strategy_path: Annotated[
        Path,
        typer.Option(
            "--strategy",
            help="Strategy YAML; supplies all values that the grid does not vary.",
            default_factory=strategy_file,
            show_default="the desk's, or ibs_baseline",
        ),
    ],
    symbols: Symbols = "",
    start: Annotated[str | None, typer.Option(help="First training session; default: the grid's.")] = None,
    end: Annotated[str | None, typer.Option(help="Last test session; default: the grid's.")] = None,
    select_by: Criterion = None,
    data_dir: DataDir = None,
    source: SourceName = None,
    name: Annotated[str, typer.Option(help="Name of the experiment; default: the grid file's.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Run regardless of the estimated duration.")] = False,
    why: Why = False,
    verbose: Verbose = False,
) -> None:
    """Evaluate every combination of a grid and show the best, checked in Backtrader.

    It is `lockstep experiments grid-search` with the usual values: the experiment is stored and every
    combination is counted as a trial, so that what is shown can be believed as far as it deserves.
    """
    grid_search(
        name or grid_path.stem, strategy_path, grid_path, symbols=symbols, train_start=start, test_end=end,
        select_by=select_by, data_dir=data_dir, source=source, yes=yes, why=why,
        verbose=verbose,
    )  # fmt: skip


def resume(
    number: Annotated[int, typer.Argument(metavar="ID", help="Number of the experiment.")],
    cluster: Cluster = None,
    why: Why = False,
    verbose: Verbose = False,
) -> None:
    """Do what is missing of an experiment that was interrupted, at whatever moment."""
    require_workers(cluster)
    lab = Lab(database=Database.open(), evaluator=on_cluster(cluster))
    plan = lab.store.record(number).plan
    _carry_out(Console(), lab, plan, lambda listener: lab.resume(number, listener), why=why, verbose=verbose)


StrategyPath = Annotated[
    Path, typer.Option("--strategy", help="Strategy YAML; supplies all values that the grid does not vary.")
]
WalkForward = Annotated[str | None, typer.Option(help="train/test/step: 4y/1y/1y, or days 365/90/30.")]
Anchored = Annotated[bool, typer.Option(help="Training windows grow instead of roll.")]


def evolve(
    name: Annotated[str, typer.Option(help="Name of the experiment in lists.")],
    strategy_path: StrategyPath,
    grid_path: Annotated[Path, typer.Option("--grid", help="Grid YAML: parameters, symbols, split.")],
    generations: Annotated[int, typer.Option(help="Number of generations.")] = 60,
    children: Annotated[int, typer.Option(help="Variants in each of them.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the first generation and of all mutations.")] = 0,
    symbols: Symbols = "",
    walk_forward: WalkForward = None,
    anchored: Anchored = False,
    select_by: Criterion = None,
    data_dir: DataDir = None,
    source: SourceName = None,
    yes: Annotated[bool, typer.Option("--yes", help="Run regardless of the estimated duration.")] = False,
    why: Why = False,
    verbose: Verbose = False,
) -> None:
    """Search a grid by mutating the best so far; dates are the grid file's.

    The search learns from its results, so that the number of trials says nothing about its winner: before a
    promotion comes `replay`, or forward evidence.
    """
    require_selectable(select_by)
    choices = Choices(
        name=name,
        symbols=symbols_of(symbols, (strategy_path,), data_dir, source) if symbols else (),
        seed=seed,
        generations=generations,
        children=children,
        walk_forward=walk_forward,
        anchored=anchored,
        select_by=select_by,
        data_dir=None if data_dir is None else str(data_dir),
        source=source,
    )
    plan = make_plan(strategy_path, grid_path, choices)
    lab = Lab(database=Database.open())
    if not yes:
        require_affordable(plan, estimate(plan, _bars(lab, plan), lab.store.records()), _BUDGET)
    _carry_out(Console(), lab, plan, lambda listener: lab.run(plan, listener), why=why, verbose=verbose)


def declare_spaces(
    strategy_path: StrategyPath,
    grid_paths: Annotated[
        list[Path], typer.Option("--grid", help="Grid YAML: parameters, symbols, split; may be repeated.")
    ],
    symbols: Symbols = "",
    random: Annotated[int | None, typer.Option(help="Declare so many, drawn; default: all.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random sample.")] = 0,
    walk_forward: WalkForward = None,
    anchored: Anchored = False,
) -> None:
    """Declare several grids before there is any result: what lies within them may be searched in any order.

    All that is declared counts as tried, whether it is searched later or not.
    """
    chosen = symbols_of(symbols, (strategy_path,), None, None) if symbols else ()
    plans = []
    for path in grid_paths:
        choices = Choices(
            name=path.stem, symbols=chosen, sample=random, seed=seed, walk_forward=walk_forward,
            anchored=anchored,
        )  # fmt: skip
        plans.append(make_plan(strategy_path, path, choices))
    console, lab = Console(), Lab(database=Database.open())
    for plan in plans:
        families = {symbol: lab.family(symbol) for symbol in plan.symbols}
        for symbol, found in declare(lab.ledger, plan, families, now=lab.now()).items():
            line = f"{plan.name} on {symbol}, {plan.variants:,} variants: {found.kind}, {found.reason}"
            console.print(line, highlight=False, soft_wrap=True)


def replay_search(
    number: Annotated[int, typer.Argument(metavar="ID", help="Number of the experiment.")],
    replays: Annotated[int, typer.Option(help="How often the whole search is run again.")] = REPLAYS,
    jobs: Annotated[int, typer.Option(help="Searches beside each other; default: one per core.")] = -1,
) -> None:
    """Run a whole search again on decisions moved against the bars, and rank what it found among these runs.

    Nothing is counted: on moved decisions there is nothing to be found. The p-value is written to the ledger,
    and each replay of a search counts: the largest p-value decides.
    """
    console, lab = Console(), Lab(database=Database.open())
    with Progress(*Progress.get_default_columns(), console=console, transient=True) as bar:
        task = bar.add_task("searches", total=None)
        done = replay(
            lab, number, replays=replays, jobs=joblib.effective_n_jobs(jobs),
            begin=lambda total: bar.update(task, total=total), advance=lambda: bar.advance(task),
        )  # fmt: skip
    for line in replay_lines(lab.store.record(number), done):
        console.print(line, highlight=False, soft_wrap=True)


def _bars(lab: Lab, plan: Plan) -> int:
    """Return the bars that one variant walks over on the first symbol, all windows together."""
    data = lab.data(plan, plan.symbols[0])
    return sum(
        data.bars_in(plan.strategy, dates) for window in plan.windows for dates in (window.train, window.test)
    )


def _carry_out(
    console: Console,
    lab: Lab,
    plan: Plan,
    run: Callable[[ExperimentListener], Record],
    *,
    why: bool,
    verbose: bool,
) -> None:
    with measured() as shares:
        _run_and_show(console, lab, plan, run, why=why)
    for line in shares.lines if verbose else ():
        console.print(line, style="dim", highlight=False, soft_wrap=True)


def _run_and_show(
    console: Console, lab: Lab, plan: Plan, run: Callable[[ExperimentListener], Record], *, why: bool
) -> None:
    try:
        with on_screen(console, plan) as listener:
            record = run(listener)
    except KeyboardInterrupt:
        newest = lab.store.records()
        number = newest[-1].id if newest else 0
        console.print(
            f"interrupted; stored runs are kept: `lockstep experiments resume {number}` does the rest"
        )
        raise typer.Exit(_INTERRUPTED) from None
    print_summary(console, lab.store, record)
    console.print(searched_line(searched(lab, record)), highlight=False, soft_wrap=True)
    ranked = verified_ranking(lab, record)
    print_top(console, record, ranked, plan.select_by)
    conclude(console, lab, record, ranked, None, why=why)
    console.print(
        f"`lockstep experiments show {record.id} --why` says why, `--export html` draws it,\n"
        f"`lockstep experiments promote {record.id} --output-name NAME` promotes it"
    )
