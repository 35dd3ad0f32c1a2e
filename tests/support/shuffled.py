"""Bars without an edge, or with one that is known: the days of real ones in another order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lockstep.market.bars import Bars
from lockstep.market.history import History
from research.experiments.evaluation import Data
from research.experiments.execution import Lab
from research.experiments.plan import Plan


def shuffled(bars: Bars, seed: int, *, edge: float = 0.0) -> Bars:
    """Return bars whose days have the shapes of `bars` in a random order, and no drift.

    edge   log return added to high and close of a day after one that closed in its lowest fifth
    """
    before = np.append(bars.open[:1], bars.close[:-1])
    shapes = np.log(np.stack([bars.open, bars.high, bars.low, bars.close]) / before)
    shapes -= shapes[3].mean()
    shapes = shapes[:, np.random.default_rng(seed).permutation(len(bars))]
    low, high, close = shapes[2], shapes[1], shapes[3]
    after_low = np.append(False, (close - low < 0.2 * (high - low))[:-1])
    shapes[[1, 3]] += edge * after_low
    prices = np.exp(np.append(0.0, np.cumsum(shapes[3])[:-1]) + shapes) * 2_000.0
    return replace(bars, open=prices[0], high=prices[1], low=prices[2], close=prices[3])


@dataclass(frozen=True, kw_only=True)
class ShuffledLab(Lab):
    """A lab with the real engines whose bars are shuffled."""

    seed: int = 0
    edge: float = 0.0

    def data(self, plan: Plan, symbol: str) -> Data:
        """Return bars of the dates and shapes of the real ones, each series in an order of its own."""
        found = super().data(plan, symbol)
        bars = {
            key: shuffled(each, self.seed + place, edge=self.edge)
            for place, (key, each) in enumerate(sorted(found.history.bars.items()))
        }
        history = History(bars=bars, markets=found.history.markets)
        return replace(found, history=history, hash=f"{found.hash[:40]}{self.seed:08}{self.edge!r:>16}")
