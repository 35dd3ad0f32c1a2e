"""Commands that check a strategy for look-ahead, and features against a second source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.errors import ConfigError
from lockstep.market.command_line import App, DataDir, OneSymbol, Results, SourceName, renamed
from lockstep.market.timeframe import Timeframe
from research.checks.features import DEFAULT_IDS, check_features
from research.checks.features_report import print_check, write_page
from research.checks.lookahead import Files, check_files, lookahead_table
from research.ledger.versions import VersionName

lookahead_app = App()


@lookahead_app.command(cls=renamed({"--config": "--strategy", "--model": "--version"}))
def check_lookahead(
    symbol: OneSymbol,
    config: Annotated[
        Path | None, typer.Option("--strategy", help="Strategy YAML; or give --version.")
    ] = None,
    model: Annotated[
        str, typer.Option("--version", help="v3 or production: strategy and veto of that version.")
    ] = "",
    store: Annotated[Path | None, typer.Option(help="Store of --version; default: the usual one.")] = None,
    data_dir: DataDir = None,
    cuts: Annotated[int, typer.Option(help="Number of cuts.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the cuts and of the changed bars.")] = 0,
    catalogue: Annotated[bool, typer.Option(help="Check all features that the data supports.")] = False,
    start: Annotated[str | None, typer.Option(help="First session date to trade, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option(help="Last session date to load, YYYY-MM-DD.")] = None,
    source: SourceName = None,
    timeframe: Annotated[str | None, typer.Option(help="15min, 1h, 1d …; default: the config's.")] = None,
) -> None:
    """Change the bars after random cuts, and report the first earlier value that changes.

    With --version the strategy is checked with its veto, and beside it without.
    """
    files = Files(symbol=symbol, data_dir=data_dir, timeframe=timeframe, source=source, start=start, end=end)
    console = Console()
    if config is not None and model:
        raise ConfigError(f"--strategy {config} and --version {model}: check one of them at a time")
    checked = VersionName(version=model, store=store) if model else config
    if checked is None:
        raise ConfigError("nothing to check: give --strategy, or --version v3")
    strategies = {f"with the veto of {model}": True, "without a veto": False} if model else {"": True}
    passed = True
    for strategy, with_veto in strategies.items():
        report = check_files(
            checked, files, cuts=cuts, seed=seed, catalogue=catalogue, with_veto=with_veto, console=console
        )
        console.print(lookahead_table(report, strategy))
        console.print(report.verdict, style="bold", soft_wrap=True, highlight=False)
        passed &= report.passed
    raise typer.Exit(0 if passed else 1)


features_app = App()


@features_app.command()
def validate_features(
    symbol: OneSymbol,
    month: Annotated[str, typer.Option(help="Month of session dates, YYYY-MM.")],
    out: Results,
    data_dir: DataDir = None,
    against: Annotated[Path | None, typer.Option(help="File of bars or of values by id.")] = None,
    features: Annotated[str, typer.Option(help="Feature ids, separated by commas.")] = ",".join(DEFAULT_IDS),
    timeframe: Annotated[str | None, typer.Option(help="1min, 1h, 1d …; default: the file's.")] = None,
    source: SourceName = None,
) -> None:
    """Print the features of a month, plot them, and compare them with a second source."""
    ids = tuple(each.strip() for each in features.split(",") if each.strip())
    frame = None if timeframe is None else Timeframe.parse(timeframe)
    found = check_features(symbol, month, data_dir, ids=ids, against=against, timeframe=frame, source=source)
    print_check(Console(), found, write_page(found, out))
    raise typer.Exit(0 if found.passed else 1)
