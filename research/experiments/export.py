"""All runs of an experiment and its accounts, as files for machines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from research.experiments import account_store
from research.experiments.errors import ExperimentError
from research.experiments.store import Record, Store
from research.experiments.variants import spelled

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
        _replace(path, json.dumps(content, allow_nan=False, indent=1).encode())
        return [path]
    _write(runs, path, form)
    if found.empty:
        return [path]
    other = folder / f"experiment-{record.id}-accounts.{form}"
    _write(found, other, form)
    return [path, other]


def _write(frame: pd.DataFrame, path: Path, form: str) -> None:
    if form == "csv":
        _replace(path, frame.to_csv(index=False, lineterminator="\n").encode())
    else:
        _replace(path, frame.to_parquet(index=False))


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)


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
