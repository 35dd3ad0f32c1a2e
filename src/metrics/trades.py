"""Measures of closed trades, and the share of bars with a position."""

from __future__ import annotations

import math

import numpy as np

from lockstep.metrics.arrays import LEAST_LOSS, Floats, mean, ratio, usable


def profit_factor(pnl: Floats) -> float:
    """Sum of gains / -(sum of losses) of trades (k,), USD net of costs; nan without a losing trade."""
    if not usable(pnl):
        return math.nan
    return ratio(float(pnl[pnl > 0].sum()), -float(pnl[pnl < 0].sum()), LEAST_LOSS * float(np.abs(pnl).sum()))


def win_rate(pnl: Floats) -> float:
    """Trades with a net gain / all trades; one that ends at exactly zero is no win."""
    return float(np.mean(pnl > 0)) if usable(pnl) else math.nan


def expectancy(pnl: Floats) -> float:
    """Mean net profit per trade, USD."""
    return mean(pnl)


def average_win(pnl: Floats) -> float:
    """Mean of the gains, USD > 0; nan without one."""
    return mean(pnl[pnl > 0]) if usable(pnl) else math.nan


def average_loss(pnl: Floats) -> float:
    """Mean of the losses, USD < 0; nan without one."""
    return mean(pnl[pnl < 0]) if usable(pnl) else math.nan


def payoff_ratio(pnl: Floats) -> float:
    """Average win / -(average loss); nan without either."""
    if not usable(pnl):
        return math.nan
    return ratio(average_win(pnl), -average_loss(pnl), LEAST_LOSS * float(np.abs(pnl).sum()))


def exposure(position: Floats) -> float:
    """Bars with a position after their close / all bars, [0, 1].

    A trade that opens and ends within one bar is not seen.
    """
    return float(np.mean(position != 0)) if usable(position) else math.nan
