"""vectorbt with its Rust engine, the variants shared between two processes."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import vectorbt as vbt
from workload import Workload, main

_PROCESSES = 2
# Measured: with more of them its matrices leave the cache, and it takes up to three times as long.
_SIDE_BY_SIDE = 10


def simulate(workload: Workload, pairs: list[tuple[float, float]]) -> list[int]:
    """Run some pairs side by side; returns their trades, after asking for the measures of each."""
    before = np.concatenate(([np.nan], workload.ibs[:-1]))[:, None]
    entries = before <= np.array([[low for low, _ in pairs]])
    exits = before >= np.array([[high for _, high in pairs]])
    opens = workload.frame["Open"].to_numpy()[:, None]
    portfolio = vbt.Portfolio.from_signals(
        workload.frame["Close"],
        entries,
        exits,
        price=opens,
        size=1.0,
        fixed_fees=1.25,
        init_cash=1e6,
        freq="1h",
        engine="rust",
    )
    portfolio.total_profit()
    portfolio.sharpe_ratio()
    portfolio.max_drawdown()
    trades = portfolio.trades
    trades.win_rate()
    return [int(each) for each in trades.closed.count()]


_shared: Workload | None = None


def share(workload: Workload) -> None:
    """Keep the bars in a process, so that they travel once."""
    global _shared
    _shared = workload


def of_shared(pairs: list[tuple[float, float]]) -> list[int]:
    """Run pairs over the bars of the process."""
    assert _shared is not None
    return simulate(_shared, pairs)


_pools: list[ProcessPoolExecutor] = []


def run(workload: Workload) -> list[int]:
    """Run all pairs."""
    if not _pools:
        spawn = get_context("spawn")
        _pools.append(ProcessPoolExecutor(_PROCESSES, spawn, initializer=share, initargs=(workload,)))
    firsts = range(0, len(workload.pairs), _SIDE_BY_SIDE)
    parts = [workload.pairs[first : first + _SIDE_BY_SIDE] for first in firsts]
    return [each for part in _pools[0].map(of_shared, parts) for each in part]


if __name__ == "__main__":
    main(run)
    _pools[0].shutdown()
