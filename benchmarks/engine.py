"""`IbsStrategy` against the least that a Backtrader strategy can do with the same orders."""

from __future__ import annotations

from typing import Any

import backtrader as bt

from benchmarks.measure import Measured, process, ratio
from benchmarks.workload import BARS, CONFIG, HOURLY, history, hourly_bars
from lockstep.market.bars import Bars
from lockstep.strategy.backtrader.feed import bars_feed
from lockstep.strategy.decision import ENTER_LONG, ENTER_SHORT
from lockstep.strategy.records import EXIT
from research.backtest.result import BacktestResult
from research.backtest.run import run_backtest

_KIBIBYTES = 1024


class Minimal(bt.Strategy):
    """Places orders that were worked out before: bar number -> +1 buy, -1 sell, 0 close."""

    params = (("signals", None),)

    def next(self) -> None:
        """Place the order of this bar, if there is one."""
        signal = self.p.signals.get(len(self))
        if signal is None:
            return
        if signal == 0:
            self.close()
        elif signal > 0:
            self.buy(size=1)
        else:
            self.sell(size=1)


def minimal(bars: Bars, signals: dict[int, int]) -> bt.Cerebro:
    """Run the minimal strategy with Backtrader's own broker and return its engine."""
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.setcash(1e9)
    cerebro.broker.setcommission(commission=1.25, mult=50.0, margin=1.0, commtype=bt.CommInfoBase.COMM_FIXED)
    cerebro.adddata(bars_feed(bars))
    cerebro.addstrategy(Minimal, signals=signals)
    cerebro.run()
    return cerebro


def signals_of(result: BacktestResult) -> dict[int, int]:
    """Return the orders of a run by the number of the bar that decided them."""
    sides: dict[Any, int] = {ENTER_LONG: 1, ENTER_SHORT: -1}
    kinds = zip(result.records.codes.tolist(), result.decisions["kind"], strict=True)
    return {
        number: 0 if kind == EXIT else sides[code]
        for number, (code, kind) in enumerate(kinds, start=1)
        if kind in ("entry", EXIT)
    }


def overhead() -> Measured:
    """Measure a research run with 10 features, features included, against the minimal one."""
    bars = hourly_bars()
    known = history(bars)
    signals = signals_of(run_backtest(CONFIG, known, "ES"))
    value, ours, least = ratio(
        lambda: run_backtest(CONFIG, known, "ES"), lambda: minimal(bars, signals), runs=3
    )
    note = f"{BARS / ours:,.0f} against {BARS / least:,.0f} bars/s, {len(signals):,} orders"
    return Measured(
        what="IbsStrategy, 10 features / minimal Backtrader", value=value, unit="x", promise=1.3, note=note
    )


_PEAK = """
from pathlib import Path
from benchmarks.workload import CONFIG, history, hourly_bars
from research.backtest.run import run_backtest
run_backtest(CONFIG, history(hourly_bars()), "ES")
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def memory() -> Measured:
    """Measure the peak memory of a process that makes the run, as Linux counts it.

    Not by getrusage, whose figure starts with the memory of the process that launched this one.
    """
    value = float(process(_PEAK)) / _KIBIBYTES
    return Measured(
        what=f"peak memory of the run, {BARS:,} {HOURLY} bars", value=value, unit="MiB", promise=500.0
    )
