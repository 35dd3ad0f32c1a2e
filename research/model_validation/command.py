"""The command that validates a version of a model."""

from __future__ import annotations

import json as json_
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from lockstep.market.command_line import App
from lockstep.models import ModelStore
from lockstep.models.command_line import By, Json, Name, Store, Symbol, actor
from lockstep.models.manifest import VETO
from lockstep.tables import TextTable, prose
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.model_validation.gathering import ValidationRequest, newest
from research.model_validation.report import ValidationReport, validation_json
from research.model_validation.validate import validate
from research.statistics.gate import Check

REPORTS = "reports"

app = App()


@app.command()
def main(
    symbol: Symbol,
    version: Annotated[str, typer.Option(help="Version, for example v3; default: the newest.")] = "",
    store: Store = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the bars; default: the training's.")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Folder of the training run; default: found by record.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for reports; default: `reports` in the store.")
    ] = None,
    by: By = "",
    name: Name = VETO,
    json: Json = False,
    why: Annotated[bool, typer.Option("--why", help="Also print every check.")] = False,
) -> None:
    """Run every check on a version, write the report, and print the verdict in a word and a reason."""
    report, page = validate_version(
        symbol, version, by=actor(by), store=store, out=out, data_dir=data_dir, run=run_dir, name=name
    )
    show(report, page, Console(), as_json=json, why=why)
    raise typer.Exit(0 if report.verdict.passed else 1)


def validate_version(
    symbol: str,
    version: str,
    *,
    by: str,
    store: Path | None = None,
    out: Path | None = None,
    data_dir: Path | None = None,
    run: Path | None = None,
    name: str = VETO,
) -> tuple[ValidationReport, Path]:
    """Validate a version, the newest where none is named; reports go to `reports` in the store or to `out`.

    `LOCKSTEP_DB` names the trial ledger. Returns the report and the path of its page.
    """
    models = ModelStore(store)
    manifest = models.manifest()
    meant = manifest.resolve(symbol, version, name) if version else newest(models, symbol, name)
    request = ValidationRequest(
        symbol=symbol,
        version=meant,
        store=models,
        reports=out or models.folder / REPORTS,
        data_dir=data_dir,
        run=run,
        name=name,
    )
    return validate(request, Ledger(Database.open()), by=by, now=datetime.now(UTC))


def show(report: ValidationReport, page: Path, console: Console, *, as_json: bool, why: bool = False) -> None:
    """Print the verdict, with `why` every check before it, or the report's JSON."""
    if as_json:
        told = {"verdict": report.line.word, "reason": report.line.reason}
        content = {**json_.loads(validation_json(report)), **told, "report": str(page)}
        print(json_.dumps(content, indent=2))
        return
    if why:
        console.print(verdict_table(report))
    bundle, found = report.case.bundle, report.line
    line = Text.assemble((f"{bundle.symbol} {bundle.version}: {found.word}", "bold"), f": {found.reason}")
    console.print(line, soft_wrap=True)
    refusals, asked = len(report.verdict.refusals), len(report.verdict.applicable)
    outcome = f"failed {refusals} of {asked} checks" if refusals else f"passed all {asked} checks"
    console.print(f"{outcome}; `--why` lists them" if not why else outcome, highlight=False)
    console.print(f"report: {page}", highlight=False, soft_wrap=True)


def verdict_table(report: ValidationReport) -> TextTable:
    """Return one row per check."""
    table = TextTable("", "check", prose("what was found"))
    for found in report.verdict.checks:
        table.add_row(_mark(found), found.name, found.sentence)
    return table


def _mark(found: Check) -> Text:
    if not found.applies:
        return Text("–", style="dim")
    return Text("passed", style="green") if found.passed else Text("failed", style="red")
