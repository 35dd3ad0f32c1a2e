"""All runs of an experiment as a file for machines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd

from research.experiments.errors import ExperimentError
from research.experiments.store import Record, Store
from research.experiments.variants import spelled

FORMATS = ("csv", "parquet")


def export(store: Store, record: Record, form: str, folder: Path) -> Path:
    """Write one row per run, parameters in columns `p.<path>`, and return the file's path.

    Numbers keep all their digits; the file appears complete or not at all.
    """
    if form not in FORMATS:
        raise ExperimentError(f"--format {form}: choose one of {', '.join(FORMATS)}")
    frame = _with_parameters(store.runs(record.id), list(record.plan.parameters))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"experiment-{record.id}.{form}"
    partial = path.with_name(f".{path.name}.partial")
    if form == "csv":
        frame.to_csv(partial, index=False, lineterminator="\n")
    else:
        frame.to_parquet(partial, index=False)
    os.replace(partial, path)
    return path


def _with_parameters(runs: pd.DataFrame, paths: list[str]) -> pd.DataFrame:
    rows = [json.loads(text) for text in runs.pop("parameters")]
    columns = {f"p.{path}": _column([row[path] for row in rows]) for path in paths}
    return pd.concat([runs.iloc[:, :4], pd.DataFrame(columns, index=runs.index), runs.iloc[:, 4:]], axis=1)


def _column(values: list[object]) -> pd.Series:
    """Return numbers as numbers, missing ones as NaN; anything else as text."""
    if all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values
    ):
        return pd.Series(values, dtype="float64")
    return pd.Series([spelled(value) for value in values], dtype="str")
