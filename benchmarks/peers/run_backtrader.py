"""Backtrader's own `optstrategy`, in two processes."""

from __future__ import annotations

import backtrader as bt
from workload import Workload, main

_PROCESSES = 2


class Thresholds(bt.Strategy):
    """Buys a close low in its bar, sells one high in it."""

    params = (("pair", (0.2, 0.8)), ("strength", None))

    def next(self) -> None:
        """Decide on the present bar."""
        strength = self.p.strength[len(self) - 1]
        if self.position:
            if strength >= self.p.pair[1]:
                self.close()
        elif strength <= self.p.pair[0]:
            self.buy(size=1)


def run(workload: Workload) -> list[int]:
    """Run all pairs with the analyzers that give the measures."""
    engine = bt.Cerebro(stdstats=False, maxcpus=_PROCESSES, optreturn=True)
    engine.broker.setcash(1e6)
    engine.adddata(
        bt.feeds.PandasData(dataname=workload.frame, timeframe=bt.TimeFrame.Minutes, compression=60)
    )
    engine.optstrategy(Thresholds, pair=workload.pairs, strength=[workload.ibs])
    engine.addanalyzer(bt.analyzers.TradeAnalyzer, _name="trades")
    engine.addanalyzer(bt.analyzers.DrawDown, _name="drawdown")
    found = engine.run()
    return [int(each.analyzers.trades.get_analysis()["total"]["closed"]) for (each,) in found]


if __name__ == "__main__":
    main(run)
