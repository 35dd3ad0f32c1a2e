"""`IbsStrategy`: the IBS family as a Backtrader strategy, the same object in research and live."""

from __future__ import annotations

from lockstep.strategy.ibs_decision import decide
from lockstep.strategy.parity_strategy import ParityStrategy


class IbsStrategy(ParityStrategy):
    """Trades internal bar strength mean reversion by `IbsConfig`."""

    decide = staticmethod(decide)
