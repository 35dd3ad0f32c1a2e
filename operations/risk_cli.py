"""The command that measures the risk of a portfolio's run, or of a desk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lockstep.desk import results_folder
from lockstep.errors import ConfigError
from lockstep.live.config import LiveConfig
from lockstep.market.command_line import App, DataDir
from lockstep.market.dates import DateRange
from lockstep.models.command_line import Store
from lockstep.models.store import ModelStore
from lockstep.portfolio.var import TAILS
from operations.desk_risk import subject_of_desk
from research.backtest_runner import run_portfolio_file
from research.risk.measured import RiskReport, measure
from research.risk.of_run import subject_of_run
from research.risk.subject import RiskSubject
from research.risk.written import backtests_table, lanes_table, levels_table, risk_lines, write_risk

app = App()


@app.command()
def main(
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of a portfolio's report; a desk's goes beside its status file.",
            default_factory=partial(results_folder, "risk"),
            show_default="results/risk",
        ),
    ],
    portfolio: Annotated[
        Path | None, typer.Option(help="Portfolio YAML: its run, positions at the last set.")
    ] = None,
    desk: Annotated[
        Path | None, typer.Option(help="live.yml: positions and waiting entries of its journal.")
    ] = None,
    confidence: Annotated[str, typer.Option(help="Levels in per cent.")] = "95,99",
    start: Annotated[str | None, typer.Option(help="First session of the run, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option(help="Last session of the run, YYYY-MM-DD.")] = None,
    store: Store = None,
    data_dir: DataDir = None,
    seed: Annotated[int, typer.Option(help="Of the backtests' p-values.")] = 0,
) -> None:
    """Measure value at risk and expected shortfall of the next session, and judge past forecasts.

    Of today's positions and of entries that wait to fill: by filtered historical simulation and, beside it,
    three other methods; by lane; with backtests of what was forecast. Writes risk.json and one page. Exit
    code 1 where a gate of the page has failed.
    """
    tails, console = tails_of(confidence), Console(soft_wrap=True, highlight=False)
    if (portfolio is None) == (desk is None):
        raise ConfigError("risk: give either --portfolio FILE, for a run of research, or --desk live.yml")
    if desk is not None:
        if start is not None or end is not None:
            raise ConfigError("--start, --end: a desk is measured as it is now; they go with --portfolio")
        report = risk_of_desk(desk, data_dir=data_dir, tails=tails, seed=seed)
        folder = LiveConfig.load(desk).status.parent
    else:
        assert portfolio is not None
        report = risk_of_portfolio(
            portfolio, ModelStore(store), DateRange.of(start, end), data_dir=data_dir, tails=tails, seed=seed,
            console=console,
        )  # fmt: skip
        folder = out / report.subject.name
    content, page = write_risk(report, folder)
    _show(report, console)
    console.print(f"figures: {content}", markup=False)
    console.print(f"page: {page}", markup=False)
    if report.failed:
        raise typer.Exit(1)


def tails_of(text: str) -> tuple[float, ...]:
    """Return the tails of confidence levels in per cent, such as `95,99`, highest tail first.

    ConfigError for one that is no number between 50 and 100, or none.

    >>> tails_of("95,99")
    (0.05, 0.01)
    """
    found = set()
    for word in text.split(","):
        try:
            level = float(word)
        except ValueError:
            level = 0.0
        if not 50 < level < 100:
            raise ConfigError(
                f"--confidence {text}: {word.strip() or 'nothing'}: expected per cent between 50 and 100, "
                f"such as {','.join(f'{100 * (1 - tail):g}' for tail in TAILS)}"
            )
        found.add(round(1 - level / 100, 10))
    return tuple(sorted(found, reverse=True))


def risk_of_desk(
    desk: Path, *, data_dir: Path | None = None, tails: Sequence[float] = TAILS, seed: int = 0
) -> RiskReport:
    """Measure what the desk of a live.yml holds now; errors as of `subject_of_desk`."""
    subject = subject_of_desk(desk, data_dir=data_dir)
    return _measured(subject, data_dir, tails, seed)


def risk_of_portfolio(
    portfolio: Path,
    store: ModelStore,
    span: DateRange,
    *,
    data_dir: Path | None = None,
    tails: Sequence[float] = TAILS,
    seed: int = 0,
    console: Console | None = None,
) -> RiskReport:
    """Run the portfolio of a file and measure what it holds at its last set; see `run_portfolio_file`."""
    result = run_portfolio_file(portfolio, store, span=span, data_dir=data_dir, console=console)
    return _measured(subject_of_run(result), data_dir, tails, seed)


def _measured(subject: RiskSubject, data_dir: Path | None, tails: Sequence[float], seed: int) -> RiskReport:
    import research.stress.risk_part  # noqa: F401  adds its part

    return measure(replace(subject, data_dir=data_dir), tails=tails, seed=seed)


def _show(report: RiskReport, console: Console) -> None:
    for table in (levels_table(report), lanes_table(report), backtests_table(report)):
        if table.rows:
            console.print(table)
    for part in report.parts.values():
        for each in part.tables:
            console.print(each)
    for line in risk_lines(report):
        console.print(line, markup=False)
