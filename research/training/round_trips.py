"""Every signal followed to its own exit, by the sweep's loop: there is no second copy of a rule here.

A run holds one position at a time, so that a signal during a trade is not seen. The sweep is therefore asked
again and again, with a veto against the signals that it has already traded, until none is left. The first
run vetoes nothing: its trades are those of the plain strategy.

Sample weights by uniqueness: trades that share their bars with others teach less.

Source: López de Prado (2018), Advances in Financial Machine Learning, sections 4.2-4.4: the concurrency of a
bar is the number of labels open on it, the uniqueness of a label the mean of 1 / concurrency over its bars.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.metrics import Floats, Integers
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.matching import MULTIPLIER, Costs, fees
from research.splits.labels import Mask
from research.sweep.inputs import Chances
from research.sweep.kernels import FILL_BAR, FILL_DECISION, FILL_PRICE, FILL_QUANTITY
from research.sweep.run import trace

_PASS, _THRESHOLD = 1.0, 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class RoundTrips:
    """n trades in order of decision; rows are bars of the whole traded series.

    row, entry, exit          int64 (n,): bars of the decision and of both fills
    quantity                  float64 (n,): contracts, negative for shorts
    entry_price, exit_price   float64 (n,)
    taken                     bool (n,): a trade of the plain strategy
    unfinished                how many signals' trades were open at the last bar; they are left out
    """

    row: Integers
    entry: Integers
    exit: Integers
    quantity: Floats
    entry_price: Floats
    exit_price: Floats
    taken: Mask
    unfinished: int

    def net_pnl(self, costs: Costs) -> Floats:
        """Return the result of each trade, USD, both fees deducted; slippage is in the prices."""
        gross = (self.exit_price - self.entry_price) * self.quantity * costs[MULTIPLIER]
        entered = fees(self.quantity, self.entry_price, costs)
        return gross - (entered + fees(self.quantity, self.exit_price, costs))


def round_trips(
    config: StrategyConfig, history: History, symbol: str, *, complete: Mask, rows: slice, span: DateRange
) -> RoundTrips:
    """Return the trade of every bar in the span at which `config`, flat, would enter.

    complete   bool (bars,): where the vector, the model's ids included, has no missing value
    rows       the bars of `span`
    """
    waiting = complete.copy()
    found: list[Floats] = []
    runs: list[Integers] = []
    unfinished = 0
    while len(fills := _run(config, history, symbol, waiting, span)):
        opened, closed = fills[0::2], fills[1::2]
        waiting[rows.start + opened[:, FILL_DECISION].astype(np.int64)] = False
        unfinished += len(opened) - len(closed)
        found.append(np.hstack((opened[: len(closed)], closed)))
        runs.append(np.full(len(closed), len(runs)))
    return _ordered(found, runs, rows.start, unfinished)


def _run(config: StrategyConfig, history: History, symbol: str, waiting: Mask, span: DateRange) -> Floats:
    allowed = np.flatnonzero(waiting)
    chances = Chances.at(allowed, np.full(allowed.size, _PASS), bars=waiting.size, threshold=_THRESHOLD)
    return trace(config, history, symbol, span=span, chances=chances).fills


def _ordered(found: list[Floats], runs: list[Integers], first: int, unfinished: int) -> RoundTrips:
    table = np.vstack(found) if found else np.empty((0, 12))
    order = np.argsort(table[:, FILL_DECISION], kind="stable")
    table, run = table[order], np.concatenate(runs)[order] if runs else np.empty(0)
    width = table.shape[1] // 2

    def bars(column: int) -> Integers:
        return first + table[:, column].astype(np.int64)

    return RoundTrips(
        row=bars(FILL_DECISION),
        entry=bars(FILL_BAR),
        exit=bars(width + FILL_BAR),
        quantity=table[:, FILL_QUANTITY],
        entry_price=table[:, FILL_PRICE],
        exit_price=table[:, width + FILL_PRICE],
        taken=run == 0,
        unfinished=unfinished,
    )


def concurrency(first: Integers, last: Integers) -> Integers:
    """Return how many of the label spans cover each bar, int64 (bars,), from bar 0 to the last end.

    first, last   int64 (n,): first and last bar of each label, both included, first <= last
    """
    if not first.size:
        return np.zeros(0, dtype=np.int64)
    change = np.zeros(int(last.max()) + 2, dtype=np.int64)
    np.add.at(change, first, 1)
    np.add.at(change, last + 1, -1)
    return np.cumsum(change)[:-1]


def average_uniqueness(first: Integers, last: Integers) -> Floats:
    """Return the average uniqueness of each label, float64 (n,), above 0 and at most 1; see `concurrency`."""
    counts = concurrency(first, last)
    share = np.divide(1.0, counts, out=np.zeros(counts.size), where=counts > 0)
    total = np.concatenate(([0.0], np.cumsum(share)))
    open_share: Floats = total[last + 1] - total[first]
    return open_share / (last - first + 1)


def uniqueness_weights(first: Integers, last: Integers) -> Floats:
    """Return the average uniqueness divided by its mean, float64 (n,), mean 1."""
    weights = average_uniqueness(first, last)
    return weights / weights.mean() if weights.size else weights
