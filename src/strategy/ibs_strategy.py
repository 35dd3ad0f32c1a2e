"""`IbsStrategy`: the IBS family as a Backtrader strategy, the same object in research and live."""

from __future__ import annotations

from lockstep.strategy.backtrader.strategy import ParityStrategy
from lockstep.strategy.families.ibs import decide


class IbsStrategy(ParityStrategy):
    """Trades internal bar strength mean reversion by `IbsConfig`."""

    decide = staticmethod(decide)
