"""`lockstep stress`: a portfolio or a strategy through every scenario, and the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.errors import ConfigError
from lockstep.market.command_line import App, DataDir, OneSymbol, Results, SourceName, strategy_file
from lockstep.market.dates import DateRange
from lockstep.models.command_line import Store
from lockstep.models.store import ModelStore
from research.stress.loading import PortfolioLoader
from research.stress.plan import load_plan
from research.stress.report import save_stress, stress_lines, stress_table
from research.stress.run import StressResult, run_stress

FAILED = 1

app = App()


@app.command()
def main(
    out: Results,
    portfolio: Annotated[
        Path | None, typer.Option("--portfolio", help="Portfolio YAML: its lanes trade one account.")
    ] = None,
    symbol: OneSymbol = "",
    strategy: Annotated[
        Path | None, typer.Option("--strategy", help="Strategy YAML; default: the desk's.")
    ] = None,
    version: Annotated[str, typer.Option("--version", help="v3 or production, with its veto.")] = "",
    scenarios: Annotated[
        Path | None, typer.Option(help="YAML of your scenarios; default: those of Lockstep.")
    ] = None,
    gate: Annotated[
        float | None, typer.Option(help="Drawdown to stay below, fraction of the capital; default: 0.4.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="First session date to trade, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option(help="Last session date to trade, YYYY-MM-DD.")] = None,
    store: Store = None,
    data_dir: DataDir = None,
    source: SourceName = None,
) -> None:
    """Trade crises, gaps and other changed bars, and see whether the account survives them.

    Exits with 1 where a drawdown reaches the gate, and prints the largest size that stays under it. The worst
    scenarios run again in Backtrader, equal in every bit, or nothing is written.
    """
    if (portfolio is None) == (not symbol):
        raise ConfigError("stress: give --portfolio FILE, or --symbol with --strategy or --version")
    if portfolio is not None and (strategy is not None or version):
        raise ConfigError(
            f"--portfolio {portfolio}: says all that its lanes trade; drop --strategy or --version"
        )
    if strategy is not None and version:
        raise ConfigError(f"--strategy {strategy}: --version {version} brings its own; drop one of them")
    if gate is not None and not 0.0 < gate <= 1.0:
        raise ConfigError(f"--gate {gate:g}: must be a fraction of the capital, above 0 and at most 1")
    plan = None if scenarios is None else load_plan(scenarios)
    console, span = Console(soft_wrap=True, highlight=False), DateRange.of(start, end)
    loader = PortfolioLoader.of(data_dir=data_dir, source=source, span=span, console=console)
    loaded = (
        loader.portfolio(portfolio, ModelStore(store))
        if portfolio is not None
        else loader.single(symbol, strategy or strategy_file(), version, ModelStore(store))
    )
    with console.status("stress") as status:
        found = run_stress(
            loaded.config, loaded.members, loaded.book, plan=plan, span=span, gate=gate,
            on_step=status.update,
        )  # fmt: skip
    show(found, save_stress(found, out), console)
    if not found.passes:
        raise typer.Exit(FAILED)


def show(found: StressResult, folder: Path, console: Console) -> None:
    """Print the table, the verdict and where the page is."""
    console.print(stress_table(found))
    for line in (*stress_lines(found), f"page: {folder / 'stress.html'}"):
        console.print(line, markup=False)
