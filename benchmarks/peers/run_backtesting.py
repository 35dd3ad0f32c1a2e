"""backtesting.py, one variant after the other."""

from __future__ import annotations

import warnings

from backtesting import Backtest, Strategy
from workload import Workload, main


class Thresholds(Strategy):
    """Buys a close low in its bar, sells one high in it."""

    low, high = 0.2, 0.8

    def init(self) -> None:
        """Take the strength of every bar from the workload."""
        self.ibs = self.I(lambda: self.strength, plot=False)

    def next(self) -> None:
        """Decide on the present bar."""
        if self.position:
            if self.ibs[-1] >= self.high:
                self.position.close()
        elif self.ibs[-1] <= self.low:
            self.buy(size=1)


def run(workload: Workload) -> list[int]:
    """Run all pairs; an open trade at the end is not counted."""
    warnings.simplefilter("ignore")
    Thresholds.strength = workload.ibs
    test = Backtest(workload.frame, Thresholds, cash=1e6, finalize_trades=False)
    return [int(test.run(low=low, high=high)["# Trades"]) for low, high in workload.pairs]


if __name__ == "__main__":
    main(run)
