"""The bars that the features of a model read: as they came to the engine, and as they are settled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lockstep.features.columns import pair_key, source_keys
from lockstep.features.plan import FeaturePlan
from lockstep.live.messages import Release, Values
from lockstep.live.traded import Kept
from lockstep.market.history import History, Market, SeriesKey
from lockstep.monitoring.parity import Context, EngineStep, with_context


def labels_of(plan: FeaturePlan, markets: Mapping[str, Market]) -> dict[SeriesKey, str]:
    """Return every series that a plan reads with its role: `COMP:1d (traded)`, `SPX:1d (pair)`."""
    pairs = {pair_key(markets, key) for key in plan.pair_keys}

    def role(key: SeriesKey) -> str:
        if key == plan.base:
            return "traded"
        if key in pairs:
            return "pair"
        return "other timeframe" if key.symbol == plan.base.symbol else "context"

    return {key: f"{key} ({role(key)})" for key in source_keys(plan, markets)}


class Arrived:
    """The bars of a model's series that have come since its last decision.

    labels   of its series, see `labels_of`; traded   the one that is decided on
    kept     what filled the windows before the first decision
    """

    def __init__(self, labels: Mapping[SeriesKey, str], traded: SeriesKey, kept: Kept) -> None:
        self._labels = labels
        self._traded = traded
        self._bars = {key: dict(kept.get(key, ())) for key in self._labels}

    def hear(self, release: Release) -> None:
        """Take the bars of a set; a late one counts from here on."""
        for late in release.late:
            if late.key in self._labels:
                self._bars[late.key][late.end] = late.values
        for key, values in release.bars.items():
            if key in self._labels:
                self._bars[key][release.stamp] = values

    def at(self, stamp: int) -> Context:
        """Return the context of the decision at `stamp`, and begin anew."""
        self._bars[self._traded].pop(stamp, None)
        context = {self._labels[key]: bars for key, bars in self._bars.items()}
        self._bars = {key: {} for key in self._labels}
        return context


def with_settled(
    steps: Sequence[EngineStep], other: Sequence[EngineStep], history: History, plan: FeaturePlan
) -> list[EngineStep]:
    """Return research's steps with the settled bars of every series that the plan reads in their contexts.

    other   the steps that they are compared with. How much history an engine begins with is its own affair:
            of each series, what settled before its first bar there is left out
    """
    if not steps:
        return []
    labels = labels_of(plan, history.markets)
    decided = {step.stamp for step in steps}
    begins = (other[0].context if other else None) or {}
    bars: dict[str, dict[int, Values]] = {}
    for key, label in labels.items():
        first = min(begins.get(label, {}), default=steps[0].stamp)
        rows = settled_rows(history, key, first, steps[-1].stamp)
        known = decided if key == plan.base else set()
        bars[label] = {end: values for end, values in rows if end not in known}
    return with_context(steps, bars)


def settled_rows(history: History, key: SeriesKey, first: int, last: int) -> list[tuple[int, Values]]:
    """Return the settled bars of a series that end from `first` to `last`, oldest first."""
    bars = history.series(key)
    low, high = np.searchsorted(bars.end, [first, last + 1])
    part = bars.rows(int(low), int(high))
    values = zip(*(column.tolist() for column in part.columns().values()), strict=True)
    return list(zip(part.end.tolist(), values, strict=True))
