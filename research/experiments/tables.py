"""What the command line prints about experiments.

All runs of an experiment and its accounts, as files for machines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from lockstep.errors import ExperimentError
from lockstep.files import replace_file
from lockstep.tables import TextTable, number, prose
from research.backtest.result import BacktestResult
from research.experiments import account_store
from research.experiments.accounts import SymbolAccount
from research.experiments.comparison import MEASURES, StrategyComparison
from research.experiments.planning import spoken
from research.experiments.repeats import repeat_lines
from research.experiments.selection import Ranked
from research.experiments.store import Record, Store
from research.experiments.variants import spelled
from research.ledger.law import GUARD
from research.ledger.ledger import Ledger
from research.report.page import UNDEFINED, count, percent, ratio, usd

_FORMS = {
    "trades": count, "net_profit": usd, "cagr": percent, "max_drawdown_fraction": percent,
    "win_rate": percent, "exposure": percent,
}  # fmt: skip


def print_list(console: Console, records: Sequence[Record]) -> None:
    """Print one line per experiment."""
    table = TextTable(
        number("id"), prose("name"), "status", number("runs"), prose("symbols"), "searched", number("took"),
        "begun",
    )  # fmt: skip
    for each in records:
        runs = count(each.runs) if each.done == each.runs else f"{count(each.done)} of {count(each.runs)}"
        searched = each.plan.split.searched
        table.add_row(
            str(each.id), each.name, each.status, runs, ", ".join(each.plan.symbols),
            f"{searched.start} – {searched.end}", spoken(each.seconds), each.started[:10],
        )  # fmt: skip
    console.print(table if records else "no experiment yet")


def print_summary(console: Console, store: Store, record: Record) -> None:
    """Print what was searched, the success rate and the time taken."""
    plan = record.plan
    failed = store.failed(record.id)
    succeeded = record.done - failed
    console.print(
        f"experiment {record.id} · {record.name} · {record.kind} search · {record.status}", style="bold"
    )
    console.print(
        f"{succeeded:,} of {record.done:,} runs succeeded ({percent(succeeded / max(1, record.done))}), "
        f"{spoken(record.seconds)}, {record.done / max(record.seconds, 1e-9):,.0f} runs/s",
        highlight=False,
    )
    where = f"train {plan.split.train}, test {plan.split.validation}"
    if plan.walk_forward:
        where = f"{len(plan.windows)} windows of {plan.walk_forward} from {plan.split.searched}"
    finished = f", finished {record.finished[:10]}" if record.finished else ""
    console.print(f"begun {record.started[:10]}{finished}", highlight=False)
    sealed = f", hold-out {plan.split.holdout} sealed" if plan.split.holdout else ""
    console.print(f"{', '.join(plan.symbols)}: {where}{sealed}", highlight=False)
    for line in repeat_lines(store, record):
        console.print(line, highlight=False, soft_wrap=True)


def print_top(console: Console, record: Record, ranked: Sequence[Ranked], by: str) -> None:
    """Print the best variants with their test accounts, each the same in Backtrader."""
    means, single = averaged(record), len(record.plan.symbols) == 1
    scores = [
        number(f"{'mean ' if means else ''}train {by}"),
        *([number(f"mean test {by}")] if means else []),
    ]
    figures = [*map(number, (by if means else f"test {by}", "trades", "P&L", "DD", "PF"))]
    dates = next((each.dates for each in ranked[0].accounts.values()), "not kept by the earlier version")
    title = f"test account: {dates}"
    best = TextTable(number("#"), prose("parameters"), *scores, *(figures if single else []), title=title)
    apart = TextTable(number("#"), "account", *figures)
    for place, each in enumerate(ranked, start=1):
        named = ", ".join(f"{path} {spelled(value)}" for path, value in each.parameters.items())
        named += f" ({each.repeats})" if each.repeats else ""
        first = [str(place), named, _measure(by, each.train[by])]
        first += [_measure(by, each.test[by])] if means else []
        rows = {symbol: _figures(by, each.accounts.get(symbol)) for symbol in record.plan.symbols}
        best.add_row(*first, *(rows[record.plan.symbols[0]] if single else []))
        for symbol, found in rows.items():
            apart.add_row(str(place), symbol, *found)
    console.print(best)
    if not single:
        console.print(apart)
    console.print(
        "Each of these runs was rerun in Backtrader, with the same trades and profit."
        + (f" They are ranked by the mean over {means}." if means else ""),
        style="dim",
    )


def ledger_lines(ledger: Ledger, family: str) -> Iterator[str]:
    """Yield what a family is one market with, which ledger this is, and what became of its guards."""
    yield from ledger.kinship(family)
    head = ledger.head()
    if head.id:
        yield f"ledger {head.id}: {head.trials:,} trials in all, {head.links:,} links"
        yield f"head {head.hash}"
    for each in ledger.verdicts(GUARD):
        yield f"guards were missing or changed, and made again on {each.recorded}: {each.subject}"


def averaged(record: Record) -> str:
    """Return what a score is a mean over: `16 windows`, `2 symbols x 16 windows`; '' for one run."""
    symbols, windows = len(record.plan.symbols), len(record.plan.windows)
    return " x ".join([f"{symbols} symbols"] * (symbols > 1) + [f"{windows} windows"] * (windows > 1))


def _figures(by: str, account: SymbolAccount | None) -> list[str]:
    if account is None:
        return [UNDEFINED] * 5
    metrics = account.metrics
    return [
        _measure(by, metrics[by]),
        count(metrics["trades"]),
        usd(metrics["net_profit"]),
        percent(metrics["max_drawdown_fraction"]),
        ratio(metrics["profit_factor"]),
    ]


def _measure(name: str, value: float | None) -> str:
    return percent(value) if name == "cagr" else ratio(value)


def _strategy(result: BacktestResult) -> str:
    """Return the name of a strategy, with the version whose veto it asks."""
    return result.config.name if result.model is None else f"{result.config.name} {result.model['version']}"


def print_comparison(console: Console, found: StrategyComparison) -> None:
    """Print the measures of two strategies side by side, and how sure their difference is."""
    names = (_strategy(found.first), _strategy(found.second))
    days = found.first.equity["session_date"]
    title = f"{found.symbol}, {days.iloc[0]:%Y-%m-%d} to {days.iloc[-1]:%Y-%m-%d}"
    table = TextTable("", *map(number, names), number("difference"), title=title)
    for name in MEASURES:
        one, other = found.first.metrics[name], found.second.metrics[name]
        form = _FORMS.get(name, ratio)
        table.add_row(name.replace("_", " "), form(one), form(other), form(other - one))
    console.print(table)
    for look in found.looks:
        console.print(look, style="dim", highlight=False, soft_wrap=True, markup=False)
    if found.difference is None:
        console.print("The returns are equal, or the sessions too few to tell.", style="dim")
        return
    between = found.difference
    console.print(
        f"{names[1]} returns {percent(between.estimate)} of capital a year more than {names[0]}, 95% "
        f"interval {percent(between.low)} to {percent(between.high)}; their sessions correlate by "
        f"{ratio(found.correlation)}. Both trials are counted.",
        highlight=False,
        soft_wrap=True,
    )


FORMATS = ("csv", "parquet", "json")
SCHEMA = 1

_HEAD = 4


def export(store: Store, record: Record, form: str, folder: Path) -> list[Path]:
    """Write the runs and the accounts of an experiment, and return the files' paths.

    A run is one combination on one symbol in one window: parameters in columns `p.<path>`, and the first and
    last dates on which its measures were taken. An account is what all test windows gave together, see
    `accounts.py`; `legs` lists what traded when: variant, first and last date. CSV and Parquet are a file for
    each, JSON holds both, null where a measure is undefined. Numbers keep all their digits; each file appears
    complete or not at all.
    """
    if form not in FORMATS:
        raise ExperimentError(f"--format {form}: choose one of {', '.join(FORMATS)}")
    runs = _with_dates(_with_parameters(store.runs(record.id), list(record.plan.parameters)), record)
    found = _accounts(store, record)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"experiment-{record.id}.{form}"
    if form == "json":
        content = {
            "schema": SCHEMA,
            "experiment": record.id,
            "name": record.name,
            "plan": record.plan.model_dump(mode="json"),
            "accounts": [{**each, "legs": json.loads(each["legs"])} for each in _rows(found)],
            "runs": _rows(runs),
        }
        replace_file(path, json.dumps(content, allow_nan=False, indent=1).encode())
        return [path]
    _write(runs, path, form)
    if found.empty:
        return [path]
    other = folder / f"experiment-{record.id}-accounts.{form}"
    _write(found, other, form)
    return [path, other]


def _write(frame: pd.DataFrame, path: Path, form: str) -> None:
    if form == "csv":
        replace_file(path, frame.to_csv(index=False, lineterminator="\n").encode())
    else:
        replace_file(path, frame.to_parquet(index=False))


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [dict(zip(plain.columns, row, strict=True)) for row in plain.itertuples(index=False)]


def _accounts(store: Store, record: Record) -> pd.DataFrame:
    """Return one row per account that is kept: label, symbol, dates, legs as JSON, measures."""
    rows = []
    for label, account in account_store.kept(store, record):
        stretches = account.stretches
        legs = [[each.variant, str(each.dates.start), str(each.dates.end)] for each in account.legs]
        dates = {"start": str(stretches[0].start), "end": str(stretches[-1].end)}
        rows.append(
            {"account": label, "symbol": account.symbol, **dates, "legs": json.dumps(legs), **account.metrics}
        )
    return pd.DataFrame(rows)


def _with_dates(runs: pd.DataFrame, record: Record) -> pd.DataFrame:
    """Put the dates of its window beside each run, ISO texts."""
    windows = record.plan.windows
    dates = {
        f"{part}_{edge}": [str(getattr(getattr(each, part), edge)) for each in windows]
        for part in ("train", "test")
        for edge in ("start", "end")
    }
    of_windows = pd.DataFrame(dates, dtype="str").loc[runs["window_number"]].set_axis(runs.index, axis=0)
    return pd.concat([runs.iloc[:, :_HEAD], of_windows, runs.iloc[:, _HEAD:]], axis=1)


def _with_parameters(runs: pd.DataFrame, paths: list[str]) -> pd.DataFrame:
    rows = [json.loads(text) for text in runs.pop("parameters")]
    columns = {f"p.{path}": _column([row[path] for row in rows]) for path in paths}
    parameters = pd.DataFrame(columns, index=runs.index)
    return pd.concat([runs.iloc[:, :_HEAD], parameters, runs.iloc[:, _HEAD:]], axis=1)


def _column(values: list[object]) -> pd.Series:
    """Return numbers as numbers, missing ones as NaN; anything else as text."""
    if all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values
    ):
        return pd.Series(values, dtype="float64")
    return pd.Series([spelled(value) for value in values], dtype="str")
