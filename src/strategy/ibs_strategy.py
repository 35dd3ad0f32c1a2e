"""`IbsStrategy`: the IBS family as a Backtrader strategy, the same object in research and live."""

from __future__ import annotations

from lockstep.strategy.backtrader.strategy import ParityStrategy
from lockstep.strategy.families.ibs import IBS


class IbsStrategy(ParityStrategy):
    """Mean reversion on internal bar strength, configured by `IbsConfig`.

    >>> from lockstep.strategy import IbsConfig
    >>> from research.backtest.run import run_backtest
    >>> from lockstep.market.loader import load_history
    >>> history = load_history("COMP", start="2018-01-02")
    >>> result = run_backtest(IbsConfig(name="ibs"), history, "COMP", strategy=IbsStrategy)
    >>> len(result.records.trades) > 10
    True
    """

    family = IBS.name
