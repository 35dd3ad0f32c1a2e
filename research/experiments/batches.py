"""What the two ranges of a window gave, put together as the rows that are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import Floats
from research.experiments.drawn import Drawn, config_hashes, evaluation_ids
from research.experiments.evaluation import Outcome
from research.experiments.models import PARTS
from research.experiments.store import Batch, Head
from research.sweep_configs import Integers

_BLOCKS = 16
_SKETCHES = 128


def batch_of(
    symbol: str, window: int, drawn: Drawn, outcomes: Sequence[Outcome], where: str, base_hash: str
) -> Batch:
    """Return a batch of the combinations drawn, with an outcome of the valid ones per range.

    where       code, data and dates, see `variants.evaluation_id`
    base_hash   hash of the base configuration
    """
    errors = dict(drawn.errors)
    for outcome in outcomes:
        for place, reason in outcome.errors.items():
            errors.setdefault(int(drawn.rows[place]), reason)
    count = drawn.numbers.size
    return Batch(
        symbol=symbol,
        window=window,
        heads=_heads(drawn, errors, where, base_hash),
        metrics=_metrics(count, drawn.rows, outcomes, list(errors)),
        blocks=_blocks(count, drawn.rows, outcomes),
        sessions=_sessions(outcomes),
        sketch=_sketches(count, drawn.rows, outcomes),
    )


def _heads(drawn: Drawn, errors: Mapping[int, str], where: str, base_hash: str) -> list[Head]:
    hashes: NDArray[np.object_] = np.full(drawn.numbers.size, None, dtype=object)
    hashes[drawn.rows] = config_hashes(drawn.configs)
    contents = base_hash + drawn.parameters
    contents[drawn.rows] = hashes[drawn.rows]
    evaluations = evaluation_ids(where, contents.tolist())
    reasons = map(errors.get, range(drawn.numbers.size))
    columns = (drawn.numbers.tolist(), drawn.parameters.tolist(), hashes.tolist(), evaluations, reasons)
    return list(map(Head, *columns))


def _metrics(
    count: int, rows: Integers, outcomes: Sequence[Outcome], failed: Sequence[int]
) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for part, outcome in zip(PARTS, outcomes, strict=False):
        for name, values in outcome.metrics.items():
            column = np.full(count, np.nan)
            column[rows] = values
            column[failed] = np.nan
            found[f"{part}_{name}"] = column
    return found


def _blocks(count: int, rows: Integers, outcomes: Sequence[Outcome]) -> NDArray[np.float32]:
    blocks = np.zeros((count, len(PARTS), _BLOCKS, 2), dtype=np.float32)
    for number, outcome in enumerate(outcomes):
        blocks[rows, number] = outcome.blocks[:, :, :2]
    return blocks


def _sessions(outcomes: Sequence[Outcome]) -> Floats:
    """Return the sessions of each block, float64 (2, 16); the rows of failed runs say 0."""
    sessions = np.zeros((len(PARTS), _BLOCKS))
    for number, outcome in enumerate(outcomes):
        sessions[number] = outcome.blocks[:, :, 2].max(axis=0)
    return sessions


def _sketches(count: int, rows: Integers, outcomes: Sequence[Outcome]) -> NDArray[np.float16]:
    """Return both ranges' sketches side by side, scaled to length 1: only their directions are compared."""
    sketch = np.zeros((count, _SKETCHES), dtype=np.float16)
    if outcomes:
        both = np.concatenate([outcome.sketch for outcome in outcomes], axis=1)
        length = np.linalg.norm(both, axis=1, keepdims=True)
        sketch[rows] = np.divide(both, length, out=np.zeros_like(both), where=length > 0)
    return sketch
