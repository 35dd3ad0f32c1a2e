"""The command that makes a portfolio of a plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from lockstep.desk import desk_file, results_folder
from lockstep.errors import ConfigError, DataError
from lockstep.market.command_line import App, DataDir
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.metrics import Floats
from lockstep.models.command_line import Store
from lockstep.models.store import ModelStore
from lockstep.portfolio.config import load_portfolio_config
from lockstep.settings import suggestion
from lockstep.tables import TextTable, number
from research.factors.config import load_factors
from research.factors.series import DailyBars, build_factors, moves_on
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.optimise.adaptive import AdaptiveTrial, adaptive_search, keep_search, library_for
from research.optimise.counting import trial_counter
from research.optimise.lanes import StreamSource
from research.optimise.nested import RULE
from research.optimise.optimise import (
    OptimisedPortfolio,
    OptimiserDesign,
    Progress,
    no_progress,
    optimise,
)
from research.optimise.plan import PLAN, PortfolioPlan, load_plan
from research.optimise.report import KeptRun, keep
from research.optimise.streams import PortfolioStreams
from research.optimise.written import limits_text

app = App()


@app.command()
def main(
    out: Annotated[
        Path,
        typer.Option(
            help="The portfolio's file.",
            default_factory=partial(desk_file, "portfolio_config.yml", "configs/portfolio_config.yml"),
            show_default="configs/portfolio_config.yml",
        ),
    ],
    results: Annotated[
        Path,
        typer.Option(
            help="Folder of what every run leaves.",
            default_factory=partial(results_folder, "portfolio"),
            show_default="results/portfolio",
        ),
    ],
    runs: Annotated[
        Path,
        typer.Option(
            help="Folder of the training runs.",
            default_factory=partial(results_folder, "training"),
            show_default="results/training",
        ),
    ],
    plan: Annotated[
        Path,
        typer.Option(
            help="What to optimise.",
            default_factory=partial(desk_file, PLAN, f"configs/{PLAN}"),
            show_default=f"configs/{PLAN}",
        ),
    ],
    start: Annotated[str | None, typer.Option(help="First session of the streams, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option(help="Last session of the streams, YYYY-MM-DD.")] = None,
    store: Store = None,
    data_dir: DataDir = None,
    seed: Annotated[int, typer.Option(help="Of resamples, drawn orders and --optuna.")] = 0,
    optuna: Annotated[
        int | None,
        typer.Option(help="Trials by results over factor weights and parameters; kept, never written."),
    ] = None,
) -> None:
    """Choose sizes and limits of a portfolio, and write it with a report.

    The plan names lanes, groups, target volatility and declared drawdown. Each lane's profit and loss is out
    of sample; the method is the simplest that cannot be told from the best; limits are the fewest under which
    the drawdown is improbable. Each configuration is a trial of every family. Equal input writes equal bytes.
    """
    console = Console(soft_wrap=True, highlight=False)
    with console.status("loading the lanes") as status:
        portfolio, left = make_portfolio(
            plan, out=out, results=results, runs=runs, store=ModelStore(store), data_dir=data_dir,
            span=DateRange.of(start, end), seed=seed, optuna=optuna, on_step=status.update,
        )  # fmt: skip
    show(portfolio, left, console)


def make_portfolio(
    plan: Path,
    *,
    out: Path,
    results: Path,
    runs: Path,
    store: ModelStore,
    data_dir: Path | None = None,
    span: DateRange | None = None,
    seed: int = 0,
    optuna: int | None = None,
    on_step: Progress = no_progress,
) -> tuple[OptimisedPortfolio, KeptRun]:
    """Make the portfolio of a plan's file, write it to `out` and what the run leaves to `results`.

    runs     folder of the training runs; span: dates of the streams, all that are out of sample by default
    optuna   trials of a search by results (`adaptive.py`), None for none

    `LOCKSTEP_DB` names the trial ledger. ConfigError or DataError where it cannot be made: then nothing is
    written.
    """
    if optuna is not None:
        library_for(optuna)
    book = load_instruments()
    found = load_plan(plan, book)
    ledger, now = Ledger(Database.open()), datetime.now(UTC)
    source = StreamSource(
        plan=found, folder=plan.parent, store=store, runs=runs, book=book, ledger=ledger, now=now,
        data_dir=data_dir, span=span or DateRange(),
    )  # fmt: skip
    streams = PortfolioStreams.of(found, source.lanes(), book)
    design = OptimiserDesign(folder=out.parent, plan_folder=plan.parent, seed=seed)
    count = trial_counter(ledger, streams, now=now)
    factors = neutral_moves(found, streams, data_dir, book) if found.neutral else None
    portfolio = optimise(found, streams, design, factors=factors, count=count, on_step=on_step)
    tried: tuple[AdaptiveTrial, ...] = ()
    if optuna is not None:
        on_step("searching by results")
        tried = adaptive_search(portfolio, trials=optuna, seed=seed, count=count)
    left = keep(portfolio, out, results)
    load_portfolio_config(out, book)
    return portfolio, replace(left, search=keep_search(portfolio, tried, results) if tried else None)


def neutral_moves(
    plan: PortfolioPlan, streams: PortfolioStreams, data_dir: Path | None, book: InstrumentBook
) -> Floats:
    """Return the moves of the plan's `neutral` factors in the streams' sessions, float64 (T, k).

    ConfigError for a factor that is not declared; DataError, saying why, for one that cannot be built on
    them.
    """
    declared = load_factors().factors
    for name in plan.neutral:
        if name not in declared:
            raise ConfigError(f"plan {plan.name}: neutral: no factor {name!r}{suggestion(name, declared)}")

    def find(symbol: str) -> DailyBars:
        if symbol in streams.lanes:
            lane = streams.lanes[symbol]
            return DailyBars.of(lane.history, SeriesKey(symbol, lane.strategy.bars))
        return DailyBars.of(
            load_history(symbol, data_dir, timeframe=DAILY, book=book), SeriesKey(symbol, DAILY)
        )

    series, absent = build_factors({name: declared[name] for name in plan.neutral}, find)
    for name, why in absent.items():
        raise DataError(f"plan {plan.name}: neutral to {name}: {why}")
    return np.column_stack([moves_on(each, streams.days.astype("datetime64[D]")) for each in series])


def show(found: OptimisedPortfolio, left: KeptRun, console: Console) -> None:
    """Print lanes, limits and what may be believed."""
    console.print(sizes_table(found))
    rule = next(each for each in found.judged if each.name == RULE)
    luck, made = found.luck, found.config.made
    limits = limits_text(found.config.limits.model_dump(mode="json", exclude_none=True))
    for line in (
        *(f"{symbol}: {each.dates}, {each.seen}" for symbol, each in found.streams.lanes.items()),
        f"sessions: {made['sessions'][0]} to {made['sessions'][1]}, {made['sessions'][2]:,} of all lanes",
        f"method: {found.result.choice.name}; the rule out of sample: Sharpe {rule.sharpe.estimate:.2f} "
        f"({rule.sharpe.low:.2f} to {rule.sharpe.high:.2f}), deepest drawdown {rule.drawdown.estimate:.1%}",
        f"limits: {limits}; chance of a {found.plan.drawdown.at:.0%} drawdown "
        f"{made['chance_of_drawdown']:.1%}; sets tried: {made['limit_sets_tried']:,}",
        f"order of the lanes: net profit from {luck.profit.min():,.0f} to {luck.profit.max():,.0f} USD in "
        f"{luck.profit.size} orders",
        *(
            f"neutral to {name}: whole contracts leave {left_over / 100:,.0f} USD for a move of 1%"
            for name, left_over in zip(found.plan.neutral, found.leaning, strict=True)
        ),
        f"portfolio: {left.config}",
        f"report: {left.page}",
        *([f"search by results, in sample and adaptive: {left.search}"] if left.search else []),
    ):
        console.print(line, markup=False)


def sizes_table(found: OptimisedPortfolio) -> TextTable:
    """Return one row a lane: units, notional value and risk in USD, and from which capital it trades."""
    table = TextTable(
        "symbol", number("wanted"), number("units"), number("value, USD"), number("risk a year, USD"),
        number("trades from, USD"), title=found.config.name,
    )  # fmt: skip
    sizes = found.sizes
    for place, symbol in enumerate(sizes.symbols):
        table.add_row(
            symbol, f"{sizes.wanted[place]:,.3f}", f"{sizes.units[place]:,.10g}",
            f"{sizes.units[place] * sizes.notional[place]:,.0f}", f"{found.contributions[place]:,.0f}",
            f"{sizes.needed[place]:,.0f}",
        )  # fmt: skip
    return table
