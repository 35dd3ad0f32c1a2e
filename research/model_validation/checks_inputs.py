"""Checks of what the model reads: live feeds, streaming against batch, golden vectors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lockstep.errors import GoldenMismatch
from lockstep.features.batch import BatchFeatures
from lockstep.features.columns import source_keys
from lockstep.features.streaming import WindowFeatures
from lockstep.market.bars import Floats
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.models.golden import verify_golden
from research.model_validation.case import ValidationCase
from research.model_validation.check import CheckFinding, at_most, model_check


def live_feeds(markets: Mapping[str, Market], symbol: str, timeframe: Timeframe) -> frozenset[SeriesKey]:
    """Return the series that live delivers for a symbol: itself and its pair, traded timeframe and daily."""
    pair = markets[symbol].instrument.pair
    symbols = (symbol,) if pair is None else (symbol, pair)
    return frozenset(SeriesKey(each, frame) for each in symbols for frame in (timeframe, DAILY))


@model_check(
    "live feeds",
    group="inputs",
    asks="Do the live feeds of the instrument serve every feature that is read?",
)
def features_are_served(case: ValidationCase) -> CheckFinding:
    """Compare the series behind the decision vector with those that live delivers."""
    base = case.plan.base
    served = live_feeds(case.history.markets, base.symbol, base.timeframe)
    missing = [key for key in source_keys(case.plan, case.history.markets) if key not in served]
    told = f"no feed of {', '.join(map(str, missing))}" if missing else f"all {len(case.plan.ids)} are served"
    return at_most(len(missing), 0, f"{told}; live delivers {', '.join(map(str, sorted(served)))}")


@model_check(
    "streaming equals batch",
    group="inputs",
    asks="Are the vectors of a live engine, bar by bar, those of research, bit for bit?",
)
def streaming_equals_batch(case: ValidationCase) -> CheckFinding:
    """Push the whole history through the live engine's windows and compare every vector."""
    max_age = case.strategy.max_age.limits
    batch = BatchFeatures(case.plan, case.history, max_age=max_age)
    live = WindowFeatures(case.plan, case.history.markets, max_age=max_age)
    differs = _bits(streamed(case.history, live, case.plan.base)) != _bits(batch.matrix)
    count = int(differs.any(axis=1).sum())
    if not count:
        return at_most(0, 0, f"all {len(batch.matrix):,} vectors are equal bit for bit")
    row = int(differs.any(axis=1).argmax())
    name, stamp = case.plan.ids[int(differs[row].argmax())], np.datetime64(int(batch.end[row]), "ns")
    return at_most(
        count,
        0,
        f"{count:,} of {len(batch.matrix):,} vectors differ, first {name} at {stamp.astype('M8[m]')}Z",
    )


def streamed(history: History, live: WindowFeatures, base: SeriesKey) -> Floats:
    """Return the vector at every bar of `base` from bars that arrive one set at a time, float64 (n, k)."""
    wanted = frozenset(live.keys)
    served = History(
        bars={key: bars for key, bars in history.bars.items() if key in wanted}, markets=history.markets
    )
    rows = []
    for bar_set in served.bar_sets():
        live.push(bar_set)
        if base in bar_set.bars:
            rows.append(live.vector(bar_set.stamp))
    return np.array(rows)


def _bits(values: Floats) -> np.ndarray:
    """Return the values' bits, with one spelling of NaN."""
    return np.where(np.isnan(values), np.nan, values).view(np.int64)


@model_check(
    "golden vectors",
    group="inputs",
    asks="Are the bundle's golden vectors and probabilities reproduced as recorded?",
)
def golden_vectors_come_out(case: ValidationCase) -> CheckFinding:
    """Compute features and probabilities of the golden bars again."""
    golden = case.bundle.golden
    rows = f"{golden.stamps.size} golden vectors of {golden.vectors.shape[1]} features"
    try:
        verify_golden(golden, case.bundle.feature_ids, case.bundle.pipeline, registry=case.registry)
    except GoldenMismatch as error:
        return at_most(1, 0, str(error))
    answers = " and their probabilities" if case.bundle.has_model else ""
    return at_most(0, 0, f"{rows}{answers} come out as recorded")
