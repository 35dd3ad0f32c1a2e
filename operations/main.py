"""`lockstep`: every command of the system under one name, each the app of the thin file in `scripts/`.

Nothing but the names and a line of help for each is loaded until a command is called.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from lockstep import __version__
from lockstep.console import run
from operations.lazy_commands import Contents, LazyGroup

START, DATA = "Start here", "Data"
RESEARCH, MODELS, LIVE = "Research", "Models", "Live trading"
COMMANDS = "Commands"

contents = Contents()


class Root(LazyGroup):
    """The group of all commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(entries=contents.entries, **settings)


app = typer.Typer(cls=Root, no_args_is_help=True, add_completion=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lockstep {__version__}")
        raise typer.Exit


@app.callback()
def lockstep(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Lockstep: what you backtest is exactly what trades live.

    Each command explains itself: lockstep backtest --help.
    """


@contents.add("init", "Make a desk: a folder with everything to begin.", panel=START)
def _init() -> typer.Typer:
    from operations.init import app

    return app


@contents.add("version", "Print version, code hashes and libraries.", panel=START)
def _version() -> typer.Typer:
    from operations.version import app

    return app


@contents.add("backtest", "Run a strategy over history.", panel=RESEARCH, script="")
def _backtest() -> typer.Typer:
    from research.backtest_runner import app

    return app


@contents.add("sweep", "Evaluate a grid of variants and show the best.", panel=RESEARCH)
def _sweep() -> typer.Typer:
    from research.experiments.cli import sweep_app

    return sweep_app


@contents.add(
    "optimize-portfolio",
    "Choose sizes and limits of a portfolio.",
    panel=RESEARCH,
    script="optimize_portfolio",
)
def _optimize_portfolio() -> typer.Typer:
    from research.optimise.command import app

    return app


@contents.add("stress", "Trade crises and gaps; fails at a 40 % drawdown.", panel=RESEARCH)
def _stress() -> typer.Typer:
    from research.stress.command import app

    return app


@contents.add("risk", "Measure value at risk of a portfolio or a desk.", panel=RESEARCH)
def _risk() -> typer.Typer:
    # Joins the parts of the page, which know nothing of what is above them.
    from operations.risk_cli import app

    return app


def _journal_reader() -> Callable[..., Any]:
    from certify.realised import of_journal

    return of_journal


@contents.add(
    "experiments",
    "Search parameters; every trial is counted.",
    panel=RESEARCH,
    script="experiments",
    context=_journal_reader,
)
def _experiments() -> typer.Typer:
    from research.experiments.cli import app

    return app


@contents.add("tearsheet", "Write a tear sheet from anybody's results.", panel=RESEARCH, script="tearsheet")
def _tearsheet() -> typer.Typer:
    from research.report.cli import app

    return app


@contents.add(
    "candidates",
    "Forward evidence: register, score, promote, retire.",
    panel=RESEARCH,
    script="candidates",
)
def _candidates() -> typer.Typer:
    from operations.candidates_cli import app

    return app


@contents.add("pipeline", "Search every night, score, register, decide.", panel=RESEARCH, script="pipeline")
def _pipeline() -> typer.Typer:
    from operations.nightly.cli import app

    return app


@contents.add("agents", "Let agents propose strategies; judge the winner.", panel=RESEARCH, script="agents")
def _agents() -> typer.Typer:
    from operations.agents.cli import app

    return app


@contents.add("ab", "Compare two strategies side by side.", panel=RESEARCH, script="ab")
def _ab() -> typer.Typer:
    from operations.ab.cli import app

    return app


evaluate = contents.group("evaluate", "Run one variant or one candidate by hand.", panel=RESEARCH)


@evaluate.add("variant", "Compare a strategy and a variant.", panel=COMMANDS, script="evaluate_variant")
def _evaluate_variant() -> typer.Typer:
    from operations.evaluations_cli import variant_app

    return variant_app


@evaluate.add(
    "candidate",
    "Run a candidate, before and after its registration.",
    panel=COMMANDS,
    script="backtest_candidate",
)
def _evaluate_candidate() -> typer.Typer:
    from operations.evaluations_cli import candidate_app

    return candidate_app


@evaluate.add(
    "report", "Write the page of an experiment or candidate.", panel=COMMANDS, script="generate_report"
)
def _evaluate_report() -> typer.Typer:
    from operations.evaluations_cli import report_app

    return report_app


check = contents.group("check", "Check a strategy for look-ahead, or its features.", panel=RESEARCH)


@check.add("lookahead", "Check a strategy for look-ahead.", panel=COMMANDS, script="check_lookahead")
def _check_lookahead() -> typer.Typer:
    from research.checks.cli import lookahead_app

    return lookahead_app


@check.add(
    "features",
    "Compare features of a month with a second source.",
    panel=COMMANDS,
    script="validate_features",
)
def _check_features() -> typer.Typer:
    from research.checks.cli import features_app

    return features_app


spec = contents.group("spec", "Check, explain, export and compare strategy specs.", panel=RESEARCH)


@spec.add("check", "Refuse specs that cannot mean what they say.", panel=COMMANDS)
def _spec_check() -> typer.Typer:
    from research.specs.cli import check_app

    return check_app


@spec.add("explain", "Say in sentences what a spec does, and how often.", panel=COMMANDS)
def _spec_explain() -> typer.Typer:
    from research.specs.cli import explain_app

    return explain_app


@spec.add("export", "Write a spec as a readable Python class.", panel=COMMANDS)
def _spec_export() -> typer.Typer:
    from research.specs.cli import export_app

    return export_app


@spec.add("diff", "Compare two specs: meaning, conditions, signals.", panel=COMMANDS)
def _spec_diff() -> typer.Typer:
    from research.specs.cli import diff_app

    return diff_app


compare = contents.group("compare", "Compare trades or a paper desk with a backtest.", panel=RESEARCH)


@compare.add("trades", "Compare your own trade list with a run.", panel=COMMANDS, script="compare_trades")
def _compare_trades() -> typer.Typer:
    from research.backtest.trade_cli import app

    return app


@compare.add("paper", "Compare a paper desk's journal with research.", panel=COMMANDS, script="compare_paper")
def _compare_paper() -> typer.Typer:
    from certify.paper_cli import app

    return app


@contents.add("train", "Train a model and register it as a candidate.", panel=MODELS, script="train_model")
def _train() -> typer.Typer:
    from research.training.cli import train_app

    return train_app


@contents.add("validate", "Run every check on a model.", panel=MODELS, script="validate_model")
def _validate() -> typer.Typer:
    from research.model_validation.command import app

    return app


@contents.add(
    "certify",
    "Prove that research, sweep and live engine agree.",
    panel=MODELS,
    script="check_parity",
)
def _certify() -> typer.Typer:
    from certify.command import app

    return app


@contents.add(
    "promote",
    "Put a version, or a strategy, into production.",
    panel=MODELS,
    script="promote_model",
)
def _promote() -> typer.Typer:
    from operations.promote_cli import app

    return app


@contents.add("rollback", "Return to the previous version.", panel=MODELS, script="rollback_model")
def _rollback() -> typer.Typer:
    from lockstep.models.cli import rollback_app

    return rollback_app


models = contents.group("models", "List, fetch, retire and rebuild versions; signing keys.", panel=MODELS)


@models.add("list", "List versions.", panel=COMMANDS, script="list_models")
def _models_list() -> typer.Typer:
    from lockstep.models.cli import list_app

    return list_app


@models.add("retire", "Withdraw a version for good.", panel=COMMANDS, script="retire_model")
def _models_retire() -> typer.Typer:
    from lockstep.models.cli import retire_app

    return retire_app


@models.add("fetch", "Copy a version from another store.", panel=COMMANDS, script="fetch_model")
def _models_fetch() -> typer.Typer:
    from lockstep.models.cli import fetch_app

    return fetch_app


@models.add("rebuild", "Retrain a recorded version.", panel=COMMANDS, script="rebuild_model")
def _models_rebuild() -> typer.Typer:
    from operations.rebuild_cli import app

    return app


@models.add("zoo", "Models that answer on every bar: list, show, report.", panel=COMMANDS, script="models")
def _models_zoo() -> typer.Typer:
    from research.zoo.cli import app

    return app


@models.add("get-or-create", "Train a model of the zoo, once.", panel=COMMANDS)
def _models_get_or_create() -> typer.Typer:
    from research.zoo.cli import create_app

    return create_app


@models.add("worker", "Improve a model of the zoo in the background.", panel=COMMANDS)
def _models_worker() -> typer.Typer:
    from research.zoo.cli import worker_app

    return worker_app


@models.add("keys", "Create, use and trust signing keys.", panel=COMMANDS, script="model_keys")
def _models_keys() -> typer.Typer:
    from lockstep.models.cli import keys_app

    return keys_app


@contents.add("live", "Run the live engine.", panel=LIVE, script="run_live")
def _live() -> typer.Typer:
    from lockstep.live.main import app

    return app


@contents.add("rehearse", "Run a desk on paper, killing it on the way.", panel=LIVE)
def _rehearse() -> typer.Typer:
    from certify.paper import app

    return app


@contents.add("status", "Show what the engine is doing.", panel=LIVE, script="status")
def _status() -> typer.Typer:
    from lockstep.live.cli import status_app

    return status_app


@contents.add("orders", "List, resolve, fill and reconcile orders.", panel=LIVE, script="orders")
def _orders() -> typer.Typer:
    from lockstep.live.operator.orders_cli import app

    return app


@contents.add("rollout", "Show the roll-out; advance it or step back.", panel=LIVE, script="rollout")
def _rollout() -> typer.Typer:
    from lockstep.live.operator.rollout_cli import app

    return app


@contents.add("portfolio", "Show the desk's portfolio; end its halt.", panel=LIVE)
def _portfolio() -> typer.Typer:
    from lockstep.live.operator.portfolio_cli import app

    return app


@contents.add("journal", "Show, verify and back up the journal.", panel=LIVE, script="journal")
def _journal() -> typer.Typer:
    from lockstep.live.operator.journal_cli import app

    return app


@contents.add("monitor", "Watch a running desk: alarms, drift, decay.", panel=LIVE, script="monitor")
def _monitor() -> typer.Typer:
    from operations.watch.cli import app

    return app


@contents.add(
    "report", "Report a month: a page, and a PDF.", panel=LIVE, script="generate_performance_report"
)
def _report() -> typer.Typer:
    from operations.reports.cli import report_app

    return report_app


@contents.add("retrain", "Train models again: plan, run, approve.", panel=LIVE, script="retrain")
def _retrain() -> typer.Typer:
    from operations.retraining.cli import app

    return app


@contents.add("dashboard", "Show the desk in a browser.", panel=LIVE, script="dashboard")
def _dashboard() -> typer.Typer:
    from operations.dashboard.cli import app

    return app


@contents.add("health", "Look at every strategy once a week.", panel=LIVE, script="strategy_health_check")
def _health() -> typer.Typer:
    from operations.reports.cli import health_app

    return health_app


@contents.add("alert", "Send one alert from outside the engine.", panel=LIVE, script="alert")
def _alert() -> typer.Typer:
    from lockstep.live.cli import alert_app

    return alert_app


@contents.add("backup", "Back up journal, store, ledger and monitor.", panel=LIVE, script="backup")
def _backup() -> typer.Typer:
    from operations.backup_cli import app

    return app


data = contents.group("data", "Check and declare data files; export results.", panel=DATA)


@data.add("check", "Check a data file.", panel=COMMANDS, script="check_data")
def _data_check() -> typer.Typer:
    from operations.quality.cli import app

    return app


@data.add("add-source", "Declare a data file.", panel=COMMANDS, script="add_source")
def _data_add_source() -> typer.Typer:
    from research.utils.cli import add_app

    return add_app


@data.add("rolls", "Build and show the roll table of a future.", panel=COMMANDS)
def _data_rolls() -> typer.Typer:
    from research.utils.rolls_cli import app

    return app


@data.add("bars", "List, accept and reject the engine's quarantined bars.", panel=COMMANDS, script="bars")
def _data_bars() -> typer.Typer:
    from lockstep.live.bars_cli import app

    return app


@data.add("export", "Export fills, decisions, outcomes, backtests.", panel=COMMANDS, script="export")
def _data_export() -> typer.Typer:
    # Sees the journal and, above it, the monitor.
    from operations.export_cli import app

    return app


def main() -> None:
    """Run `lockstep`; refusals are one line and an exit code, as in every script."""
    run(partial(app, prog_name="lockstep"))


if __name__ == "__main__":
    main()
