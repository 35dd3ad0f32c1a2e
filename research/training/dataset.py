"""The samples that a veto learns from: every bar at which the configured strategy would enter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lockstep.market.bars import Stamps
from lockstep.metrics import Floats, Integers
from research.validation.labels import Labels, Mask


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """n samples in order of decision, k features.

    features      float64 (n, k): the vector frozen at the decision, columns `feature_ids`, no NaN
    target        int64 (n,): 1 where the trade's net P&L is positive, else 0
    row           int64 (n,): the bar of the decision in the traded series; `decision` its end, UTC ns
    entry, exit   int64 (n,): ends of the bars of the entry and exit fills, UTC ns
    side          float64 (n,): +1 long, -1 short
    net_pnl       float64 (n,), USD; net_return float64 (n,), of the configured capital
    taken         bool (n,): the strategy without a veto was flat here and really entered
    weight        float64 (n,), mean 1: average uniqueness, or ones
    hashes        `config`, `data`, `features`, `code`: what the samples depend on
    """

    symbol: str
    feature_ids: tuple[str, ...]
    features: Floats
    target: Integers
    row: Integers
    decision: Stamps
    entry: Stamps
    exit: Stamps
    side: Floats
    net_pnl: Floats
    net_return: Floats
    taken: Mask
    weight: Floats
    hashes: Mapping[str, str]

    @property
    def labels(self) -> Labels:
        """The label intervals [decision, exit], UTC ns."""
        return Labels.of(self.decision, self.exit)

    def __len__(self) -> int:
        return int(self.target.size)
