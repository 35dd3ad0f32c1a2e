"""Commands on the model zoo: get or create a model, let the worker improve one, list, show and report."""

from __future__ import annotations

import json as json_text
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import yaml
from rich.console import Console

from lockstep.errors import ConfigError
from lockstep.market.command_line import SYMBOL_FLAGS, App, DataDir, OneSymbol, SourceName
from lockstep.market.dates import as_day
from lockstep.models.command_line import By, Json, Store, actor, print_json
from lockstep.models.store import ModelStore
from lockstep.settings import read_yaml, validated
from lockstep.tables import TextTable, number, prose
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.zoo.model_spec import ModelSpec
from research.zoo.settings import WorkerSettings
from research.zoo.usage import ModelUsage, ZooVersion, get_usage_stats, lineage, list_all_models
from research.zoo.worker import MLBackgroundWorker, WorkerReport
from research.zoo.zoo import ModelZoo

NICE = 10
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_Called = TypeVar("_Called", bound=Callable[..., Any])

Url = Annotated[str | None, typer.Option("--database", help="Its URL; default: LOCKSTEP_DB, or the desk's.")]
Task = Annotated[str, typer.Option(help="direction, return, volatility or regime.")]
Horizon = Annotated[int, typer.Option(help="Bars ahead, 1 to 20.")]
Frame = Annotated[str, typer.Option("--timeframe", help="Timeframe of the bars.")]
Start = Annotated[str | None, typer.Option(help="First session date that is learned from.")]
End = Annotated[str | None, typer.Option(help="Last one; default: two thirds of the way.")]
Model = Annotated[str, typer.Argument(help="Its name, for example volatility_h1.")]
Instrument = Annotated[str, typer.Argument(help="Instrument, for example COMP.")]

app = App(no_args_is_help=True)
# The two that are `lockstep models get-or-create` and `lockstep models worker` as well.
create_app, worker_app = App(), App()


def _also(*apps: tuple[App, str]) -> Callable[[_Called], _Called]:
    """Register a command under several names and apps."""

    def register(function: _Called) -> _Called:
        for where, name in apps:
            where.command(name or None)(function)
        return function

    return register


@_also((create_app, ""), (app, "get-or-create"))
def get_or_create(
    symbol: OneSymbol,
    spec: Annotated[Path | None, typer.Option(help="YAML of a model spec; else the options below.")] = None,
    task: Task = "volatility",
    horizon: Horizon = 1,
    features: Annotated[str, typer.Option(help="Feature ids, separated by commas.")] = "",
    estimator: Annotated[str, typer.Option(help="Model family.")] = "hist_gradient_boosting",
    parameter: Annotated[
        list[str] | None, typer.Option(help="One of the estimator's, as name=value; may be repeated.")
    ] = None,
    members: Annotated[int, typer.Option(help="Members of an ensemble by seed, 1 to 8.")] = 1,
    label: Annotated[
        str, typer.Option(help="What is learned from: clear or clipped; default: the usual.")
    ] = "",
    timeframe: Frame = "1d",
    start: Start = None,
    end: End = None,
    data_dir: DataDir = None,
    source: SourceName = None,
    store: Store = None,
    database: Url = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Print the version that answers a spec; it is trained, once, where there is none."""
    where = "model spec" if spec is None else str(spec)
    content = read_yaml(spec) if spec is not None else {
        "task": task, "horizon": horizon, "features": _listed(features),
        "estimator": estimator, "parameters": dict(map(_parameter, parameter or [])), "members": members,
        "label": label,
    }  # fmt: skip
    asked = validated(ModelSpec, content, where=where)
    settings = validated(
        WorkerSettings,
        {
            "symbol": symbol, "task": asked.task, "horizon": asked.horizon, "timeframe": timeframe,
            "start": as_day("start", start), "end": as_day("end", end), "source": source,
            "data_dir": None if data_dir is None else str(data_dir),
        },
        where="options",
    )  # fmt: skip
    zoo = _zoo(store, database, by)
    found = zoo.get_or_create_model(
        asked, settings.bars(), data_dir=settings.data_dir, source=settings.source
    )
    if json:
        print_json({**asdict(found), "column": found.column})
        return
    for line in found.remarks:
        print(line)
    how = "trained" if found.created else "there already"
    print(f"{found.symbol} {found.name} {found.version}: {how}; a spec reads it as {found.column}")


@_also((worker_app, ""), (app, "worker"))
def worker(
    symbol: OneSymbol,
    once: Annotated[bool, typer.Option("--once", help="One run, then end.")] = False,
    interval: Annotated[str | None, typer.Option(help="A run every so often, such as 1h or 30m.")] = None,
    task: Task = "volatility",
    horizon: Horizon = 1,
    steps: Annotated[int, typer.Option(help="Proposals of a run.")] = 30,
    cpu_seconds: Annotated[float, typer.Option(help="CPU time of a run.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Seed of the proposals.")] = 1,
    features: Annotated[str, typer.Option(help="Ids that it may add; default: the catalogue's.")] = "",
    timeframe: Frame = "1d",
    start: Start = None,
    end: End = None,
    data_dir: DataDir = None,
    source: SourceName = None,
    store: Store = None,
    database: Url = None,
    by: By = "",
    json: Json = False,
) -> None:
    """Improve a model: propose, score, test on the sealed tail, and release what wins."""
    if once == (interval is not None):
        raise ConfigError("worker: give one of --once and --interval, such as --interval 1h")
    pause = None if interval is None else seconds_of(interval)
    settings = validated(
        WorkerSettings,
        {
            "symbol": symbol, "task": task, "horizon": horizon, "timeframe": timeframe, "steps": steps,
            "cpu_seconds": cpu_seconds, "seed": seed, "features": _listed(features),
            "start": as_day("start", start), "end": as_day("end", end), "source": source,
            "data_dir": None if data_dir is None else str(data_dir),
        },
        where="options",
    )  # fmt: skip
    os.nice(NICE)
    at_work = MLBackgroundWorker(zoo=_zoo(store, database, by), settings=settings)
    while True:
        _tell(at_work.once(), settings, as_json=json)
        if pause is None:
            return
        time.sleep(pause)


def _tell(found: WorkerReport, settings: WorkerSettings, *, as_json: bool) -> None:
    if as_json:
        print(json_text.dumps(asdict(found)), flush=True)
        return
    for line in found.lines:
        print(line)
    released = ", ".join(found.released) or "nothing"
    print(
        f"{settings.symbol} {settings.name}: {found.steps} steps, {found.attempts} attempts on the tail, "
        f"released {released}; the newest version is {found.champion} ({found.run} ended: {found.reason})",
        flush=True,
    )


@app.command("list")
def list_versions(
    symbol: Annotated[str | None, typer.Option(*SYMBOL_FLAGS, help="Only this instrument.")] = None,
    store: Store = None,
    database: Url = None,
    json: Json = False,
) -> None:
    """List the models of the zoo, and how many strategies read each version."""
    found = list_all_models(ModelStore(store), symbol)
    usage = get_usage_stats(Database.open(database))
    if json:
        print_json([{**_plain(each), "usage": _usage(usage.get(each.column))} for each in found])
        return
    said = "The zoo is empty; `lockstep models get-or-create` trains a model."
    Console().print(models_table(found, usage) if found else said)


def models_table(found: Sequence[ZooVersion], usage: Mapping[str, ModelUsage]) -> TextTable:
    """Return models of the zoo, one a row, with how many strategies read each."""
    table = TextTable(
        "model", "version", "status", "estimator", number("features"), number("loss"), number("strategies"),
        prose("note"),
    )  # fmt: skip
    for each in found:
        used = usage.get(each.column)
        table.add_row(
            f"{each.symbol} {each.name}", each.version, each.status, each.spec.estimator,
            str(len(each.spec.features)), _loss(each), str(used.strategies if used else 0), each.note,
        )  # fmt: skip
    return table


@app.command("show")
def show(
    symbol: Instrument,
    name: Model,
    version: Annotated[str | None, typer.Option(help="Such as v3; default: the latest.")] = None,
    store: Store = None,
    database: Url = None,
    json: Json = False,
) -> None:
    """Show a version with its parents: what each improved, and how it was tested."""
    found = lineage(ModelStore(store), symbol, name, version)
    usage = get_usage_stats(Database.open(database), f"{symbol}_{name}")
    if json:
        print_json([{**_plain(each), "usage": _usage(usage.get(each.column))} for each in found])
        return
    for each in found:
        print(f"{symbol} {name} {each.version} ({each.status}), {each.column}")
        print(f"  {each.note or 'asked for'}")
        print(f"  {each.spec.estimator}, {', '.join(each.spec.features)}; loss out of fold {_loss(each)}")
        used = usage.get(each.column)
        if used is not None:
            print(f"  read by {used.strategies} strategies, mean Sharpe {used.mean_sharpe:.2f}, {used.best}")


@app.command("report")
def report(
    symbol: Instrument,
    name: Model,
    version: Annotated[str | None, typer.Option(help="Such as v3; default: the latest.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the page; default: in the results, by its name.")
    ] = None,
    hold_out: Annotated[
        bool, typer.Option("--hold-out", help="Look at the bars after its training, too; a look is counted.")
    ] = False,
    data_dir: DataDir = None,
    store: Store = None,
    database: Url = None,
) -> None:
    """Write the page of a version: losses by fold and regime, importance, lineage, usage."""
    from research.zoo.report import write_zoo_report
    from research.zoo.report_data import report_data

    ledger = Ledger(Database.open(database))
    found = report_data(
        ModelStore(store), ledger, symbol, name, version, data_dir=data_dir, hold_out=hold_out, now=_now()
    )
    print(write_zoo_report(found, out))


def seconds_of(text: str) -> int:
    """Return the seconds of `30m` or `1h`; ConfigError otherwise.

    >>> seconds_of("1h"), seconds_of("90s")
    (3600, 90)
    """
    found = re.fullmatch(r"([1-9]\d{0,4})([smhd])", text)
    if found is None:
        raise ConfigError(f"interval {text!r}: write a number and s, m, h or d, such as 30m or 1h")
    return int(found[1]) * _SECONDS[found[2]]


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"parameter {text!r}: write name=value, such as max_iter=100")
    return name.strip(), yaml.safe_load(value)


def _zoo(store: Path | None, database: str | None, by: str) -> ModelZoo:
    return ModelZoo(store=ModelStore(store), ledger=Ledger(Database.open(database)), by=actor(by), now=_now)


def _now() -> datetime:
    return datetime.now(UTC)


def _plain(found: ZooVersion) -> dict[str, Any]:
    return {**asdict(found), "spec": found.spec.model_dump(mode="json"), "metrics": dict(found.metrics)}


def _usage(found: Any) -> dict[str, Any]:
    content = {"strategies": 0, "mean_sharpe": None, "best": ""} if found is None else asdict(found)
    mean = content["mean_sharpe"]
    return {**content, "mean_sharpe": None if mean is None or mean != mean else mean}


def _loss(found: ZooVersion) -> str:
    loss = found.metrics.get("loss_out_of_fold")
    return "not measured" if loss is None else f"{loss:.4g}"
