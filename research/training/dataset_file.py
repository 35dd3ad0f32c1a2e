"""A dataset as parquet: one row per sample, everything else in the file's metadata, with a schema version.

Columns `decision`, `entry`, `exit` (UTC), `row`, `side`, `net_pnl`, `net_return`, `taken`, `target`, `weight`
say what became of a sample; the features follow under their ids. Equal datasets give equal bytes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lockstep.errors import DataError
from lockstep.models.atomic import replace_file
from research.training.dataset import Dataset

SCHEMA = 1
_KEY = b"lockstep"
_STAMPS = ("decision", "entry", "exit")
_VALUES = ("row", "side", "net_pnl", "net_return", "taken", "target", "weight")


def save_dataset(dataset: Dataset, path: Path) -> Path:
    """Write the file in one step and return its path; StoreFailure where the disk refuses."""
    stream = io.BytesIO()
    pq.write_table(_table(dataset), stream)
    replace_file(path, stream.getvalue())
    return path


def load_dataset(path: Path) -> Dataset:
    """Read a dataset; DataError where the file is missing, foreign, or of a newer schema."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read as parquet: {' '.join(str(error).split())}") from error
    described = _described(table, path)
    ids = tuple(described["feature_ids"])
    columns = {name: table.column(name).to_numpy() for name in (*_STAMPS, *_VALUES)}
    return Dataset(
        symbol=described["symbol"],
        feature_ids=ids,
        features=np.column_stack([table.column(each).to_numpy() for each in ids]),
        hashes=described["hashes"],
        unfinished=described["unfinished"],
        **{name: values.astype(np.int64) if name in _STAMPS else values for name, values in columns.items()},
    )


def _table(dataset: Dataset) -> pa.Table:
    stamps = {name: pa.array(getattr(dataset, name), pa.timestamp("ns", tz="UTC")) for name in _STAMPS}
    values = {name: getattr(dataset, name) for name in _VALUES}
    features = {each: dataset.features[:, column] for column, each in enumerate(dataset.feature_ids)}
    described = {
        "schema": SCHEMA,
        "symbol": dataset.symbol,
        "feature_ids": dataset.feature_ids,
        "hashes": dict(dataset.hashes),
        "unfinished": dataset.unfinished,
    }
    table = pa.table({**stamps, **values, **features})
    return table.replace_schema_metadata({_KEY: json.dumps(described, sort_keys=True).encode()})


def _described(table: pa.Table, path: Path) -> Mapping[str, Any]:
    metadata = table.schema.metadata or {}
    if _KEY not in metadata:
        raise DataError(f"{path}: no dataset of Lockstep: its description is missing; build it again")
    described: Mapping[str, Any] = json.loads(metadata[_KEY])
    if described["schema"] > SCHEMA:
        raise DataError(
            f"{path}: dataset schema {described['schema']}, this Lockstep reads {SCHEMA}; update Lockstep"
        )
    return described
