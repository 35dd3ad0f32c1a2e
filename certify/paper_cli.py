"""The command that compares a paper desk with research."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from certify.paper import PaperRequest, compare_paper
from certify.paper_evidence import attach as attach_evidence
from certify.paper_evidence import versions_of
from lockstep.desk import results_folder
from lockstep.market.command_line import App, DataDir, SourceName, renamed
from lockstep.models.command_line import By, Json, Store, actor
from lockstep.models.store import ModelStore
from research.paper.report import print_comparison, write_comparison

app = App()


@app.command(cls=renamed({"--report": "--out", "--since": "--start"}))
def main(
    journal: Annotated[Path, typer.Option(help="Journal of a desk in mode paper or shadow.")],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for page and JSON.",
            default_factory=partial(results_folder, "paper"),
            show_default="results/paper",
        ),
    ],
    store: Store = None,
    data_dir: DataDir = None,
    source: SourceName = None,
    epoch: Annotated[int | None, typer.Option(help="One epoch of the journal; default: all.")] = None,
    since: Annotated[
        str | None, typer.Option("--start", help="First session of the validation backtest, YYYY-MM-DD.")
    ] = None,
    level: Annotated[float, typer.Option(help="Joint confidence level of all bands.")] = 0.95,
    resamples: Annotated[int, typer.Option(help="Number of bootstrap runs.")] = 4_000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    attach: Annotated[bool, typer.Option("--attach", help="Attach the verdict to the manifest.")] = False,
    by: By = "",
    json: Json = False,
) -> None:
    """Backtest the journal's bundles over its bars, and judge its results by the bands of a backtest."""
    models = ModelStore(store)
    request = PaperRequest(
        journal=journal, store=models, data_dir=data_dir, source=source, epoch=epoch, since=since,
        level=level, resamples=resamples, seed=seed,
    )  # fmt: skip
    comparison, curves = compare_paper(request, now=time.time_ns())
    versions = versions_of(comparison, models) if attach else {}
    written = write_comparison(comparison, curves, out)
    if attach:
        attach_evidence(comparison, written, models, by=actor(by), now=datetime.now(UTC))
    if json:
        print(comparison.text, end="")
    else:
        print_comparison(Console(), comparison)
        print(f"report: {written.with_suffix('.html')}\nfor rollout.py advance: {written}")
        for symbol, version in versions.items():
            print(f"attached to {symbol} {version} as evidence of kind paper")
    raise typer.Exit(0 if comparison.passed else 1)
