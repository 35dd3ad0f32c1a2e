"""What every variant of a sweep earned in each session beyond a constant position, in full.

A sweep keeps a sketch of it: signed sums over 256 places. With one session in each place, and no sign, a
sketch *is* the sessions; so 256 of them come out of one pass of the same loop, and no other code can differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import joblib
import numpy as np

from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.bars import Floats
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.strategy.config import StrategyConfig
from research.statistics.maximum import SKETCH
from research.sweep.inputs import Inputs, Prepared
from research.sweep.run import CHUNK, require_expressible, workers
from research.sweep.variants import Variants
from research.sweep.work import evaluated, work_on


def residuals(
    configs: Sequence[StrategyConfig],
    history: History,
    symbol: str,
    *,
    span: DateRange | None = None,
    jobs: int = -1,
    registry: FeatureRegistry | None = None,
) -> Floats:
    """Return the timing residuals of every configuration, float64 (S, V), S the sessions of `span`, by date.

    x = r - beta m, see `SweepResult`: `configs`, `jobs` and what is refused as in `sweep`. All zero for a
    variant that did nothing but hold. Its cost is that of S / 256 sweeps, and S x V numbers of memory.
    """
    require_expressible(configs)
    variants = Variants.of(configs)
    prepared = Prepared(history, symbol, variants[0], span or DateRange(), registry or default_registry())
    sessions = 0
    out = np.empty((0, len(variants)))
    with workers(jobs) as hands:
        found = work_on(variants, prepared, chunk=CHUNK, workers=hands.count, each=hands.each)
        for inputs, work, entries in found:
            sessions = inputs.marks.size
            out = out if out.size else np.zeros((sessions, len(variants)))
            for first in range(0, sessions, SKETCH):
                one = _one_to_a_place(inputs, first)
                tasks = (joblib.delayed(evaluated)(piece, one, entries) for piece in work)
                for piece, (_, _, sketch) in zip(work, hands.run(tasks), strict=True):
                    last = min(first + SKETCH, sessions)
                    out[first:last, piece.positions] = sketch[:, : last - first].T
    return out


def _one_to_a_place(inputs: Inputs, first: int) -> Inputs:
    """Return inputs whose sketch holds the sessions from `first` on, one in each place, and no other."""
    place = np.arange(inputs.marks.size) - first
    there = (place >= 0) & (place < SKETCH)
    return replace(inputs, bucket=np.where(there, place, 0), sign=there.astype(np.float64))
