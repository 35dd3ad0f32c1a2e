"""What the two ranges of a window gave, put together as the rows that are stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import Floats
from research.experiments.evaluation import Outcome
from research.experiments.models import PARTS
from research.experiments.store import Batch, Head
from research.experiments.variants import Variant, evaluation_id

_BLOCKS = 16
_SKETCHES = 128


def batch_of(
    symbol: str,
    window: int,
    variants: Sequence[Variant],
    rows: Sequence[int],
    outcomes: Sequence[Outcome],
    where: str,
    base_hash: str,
) -> Batch:
    """Return a batch of `variants`, of which `rows` have a configuration and an outcome per range.

    where       code, data and dates, see `variants.evaluation_id`
    base_hash   hash of the base configuration
    """
    errors = {row: variants[row].error for row in range(len(variants)) if variants[row].config is None}
    for outcome in outcomes:
        for place, reason in outcome.errors.items():
            errors.setdefault(rows[place], reason)
    return Batch(
        symbol=symbol,
        window=window,
        heads=[_head(each, base_hash, where, errors.get(row)) for row, each in enumerate(variants)],
        metrics=_metrics(len(variants), rows, outcomes, list(errors)),
        blocks=_blocks(len(variants), rows, outcomes),
        sessions=_sessions(outcomes),
        sketch=_sketches(len(variants), rows, outcomes),
    )


def _head(variant: Variant, base_hash: str, where: str, error: str | None) -> Head:
    config_hash = variant.config.config_hash if variant.config is not None else None
    evaluation = evaluation_id(variant, config_hash, base_hash, where)
    return Head(variant.number, variant.parameters, config_hash, evaluation, error)


def _metrics(
    count: int, rows: Sequence[int], outcomes: Sequence[Outcome], failed: Sequence[int]
) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for part, outcome in zip(PARTS, outcomes, strict=False):
        for name, values in outcome.metrics.items():
            column = np.full(count, np.nan)
            column[rows] = values
            column[failed] = np.nan
            found[f"{part}_{name}"] = column
    return found


def _blocks(count: int, rows: Sequence[int], outcomes: Sequence[Outcome]) -> NDArray[np.float32]:
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


def _sketches(count: int, rows: Sequence[int], outcomes: Sequence[Outcome]) -> NDArray[np.float16]:
    """Return both ranges' sketches side by side, scaled to length 1: only their directions are compared."""
    sketch = np.zeros((count, _SKETCHES), dtype=np.float16)
    if outcomes:
        both = np.concatenate([outcome.sketch for outcome in outcomes], axis=1)
        length = np.linalg.norm(both, axis=1, keepdims=True)
        sketch[rows] = np.divide(both, length, out=np.zeros_like(both), where=length > 0)
    return sketch
