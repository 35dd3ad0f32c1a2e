"""Monte Carlo of the trade order: how deep a drawdown the same trades might have given.

The order in which trades came is one of very many. Shuffling them keeps the net profit and changes the way
there; drawing them with replacement also asks what else such trades could have added up to. Neither knows
streaks that trades have by nature (one regime, one news day): where trades depend on each other the result is
too kind, and `bootstrap.confidence_interval` on returns per session is the better question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lockstep.errors import ConfigError
from lockstep.metrics import Floats
from research.statistics.sharpe import finite

_CELLS = 2_000_000
_ROW = 2_000


@dataclass(frozen=True, kw_only=True, eq=False)
class TradeOrders:
    """Outcomes of simulated orders of k trades, USD.

    drawdown     >= 0: deepest decline of the account in the order that happened, trade by trade
    profit       net profit of the trades as they happened
    drawdowns    float64 (runs,), rising: the same of each simulated order
    profits      float64 (runs,), rising: net profit of each; all equal where trades were only shuffled
    worse        share of simulated orders with a deeper decline than the real one, [0, 1]
    """

    drawdown: float
    profit: float
    drawdowns: Floats
    profits: Floats
    worse: float

    def drawdown_quantile(self, level: float) -> float:
        """Drawdown, USD, that a share `level` of the orders does not exceed: the one to fund for."""
        if not 0 <= level <= 1:
            raise ConfigError(f"level {level}: must lie in [0, 1], such as 0.95")
        return float(np.quantile(self.drawdowns, level))

    def profit_quantile(self, level: float) -> float:
        """Net profit, USD, that a share `level` of the orders stays below or at."""
        if not 0 <= level <= 1:
            raise ConfigError(f"level {level}: must lie in [0, 1], such as 0.05")
        return float(np.quantile(self.profits, level))

    @property
    def lost(self) -> float:
        """Share of simulated orders with a net loss, [0, 1]."""
        return float(np.mean(self.profits < 0))


def shuffled_trades(pnl: Any, *, runs: int = 10_000, seed: int = 0, replace: bool = False) -> TradeOrders:
    """Simulate `runs` orders of the trades `pnl`, float64 (k,), USD net of costs, in the order they closed.

    `replace` draws k trades with replacement instead of shuffling. The account starts at its first high: a
    loss right away is a drawdown. DataError for no trades or values that are not finite, ConfigError for runs
    < 1.
    """
    trades = finite(pnl, "trades")
    if runs < 1:
        raise ConfigError(f"runs {runs}: must be positive; 10000 is usual")
    random = np.random.default_rng(seed)
    size = max(1, _CELLS // trades.size)
    parts = [
        _outcomes(_orders(random, trades, min(size, runs - low), replace)) for low in range(0, runs, size)
    ]
    drawdowns, profits = (np.sort(np.concatenate(column)) for column in zip(*parts, strict=True))
    real, profit = (float(each[0]) for each in _outcomes(trades[None, :]))
    # Another order adds the same numbers with other rounding; that is not a deeper decline.
    rounding = 1e-9 * float(np.abs(trades).sum())
    worse = float(np.mean(drawdowns > real + rounding))
    return TradeOrders(drawdown=real, profit=profit, drawdowns=drawdowns, profits=profits, worse=worse)


def _orders(random: np.random.Generator, trades: Floats, runs: int, replace: bool) -> Floats:
    if replace:
        return random.choice(trades, size=(runs, trades.size))
    if trades.size > _ROW:
        # The same draws and the same orders as below, which is the faster one of few trades.
        return np.array([random.permutation(trades) for _ in range(runs)])
    return random.permuted(np.broadcast_to(trades, (runs, trades.size)), axis=1)


def _outcomes(orders: Floats) -> tuple[Floats, Floats]:
    """Return (deepest decline, net profit), each (runs,), of orders (runs, k)."""
    account = np.cumsum(orders, axis=1)
    high = np.maximum(np.maximum.accumulate(account, axis=1), 0.0)
    return (high - account).max(axis=1).clip(min=0.0), account[:, -1].copy()
