"""Small markets of daily bars with an edge that is known, or none: what factories of strategies are tried on.

A session closes anywhere in its range, whatever it earned. Where there is an edge, the session after one that
closed in the lower half earns more on average; whoever buys after closes below some place then has a Sharpe
ratio that can be worked out. Prices move in points, as those of a series whose rolls are adjusted.
"""

from __future__ import annotations

import math

import numpy as np

from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.timeframe import DAILY
from lockstep.monitoring.eprocess import SESSIONS
from simulation.forward import student

START, DEVIATION = 20_000.0, 100.0
# Closes lie within these parts of the range; an edge follows those below the middle.
LOWEST, MIDDLE, HIGHEST = 0.05, 0.5, 0.95
_LEAST_RANGE = 1.2


def market(symbol: str, first: str, last: str, seed: int, *, edge: float = 0.0) -> Bars:
    """Return daily bars of a symbol on all its sessions of some dates.

    edge   mean of a session after a close in the lower half, in deviations; that of all others is 0
    """
    session = load_instruments().session(symbol)
    dates = session.scheduled_dates(np.datetime64(first), np.datetime64(last))
    random = np.random.default_rng(seed)
    place = random.uniform(LOWEST, HIGHEST, dates.size)
    earned = student(random, dates.size)
    earned[1:] += edge * (place[:-1] < MIDDLE)
    close = START + np.cumsum(DEVIATION * earned)
    start = np.append(START, close[:-1])
    moved = close - start
    # Wide enough for open and close, and so that the close is where it was drawn.
    height = DEVIATION * _LEAST_RANGE * np.ones(dates.size)
    height = np.maximum(height, np.maximum(moved / place, -moved / (1 - place)))
    low, high = close - place * height, close + (1 - place) * height
    prices = np.stack((start, np.maximum(high, start), np.minimum(low, start), close)).round(4)
    volume = random.uniform(1_000.0, 2_000.0, dates.size).round()
    return Bars(
        symbol=symbol, timeframe=DAILY, end=session.nominal_close(dates),
        **dict(zip(("open", "high", "low", "close"), prices, strict=True)), volume=volume, source=symbol,
        adjustment="difference",
    )  # fmt: skip


def sharpe_after(high: float, edge: float) -> float:
    """Return the yearly Sharpe ratio, costs apart, of holding for one session after closes up to `high`.

    Of its residual, beside a constant position of the same mean exposure: with p the share of such closes
    and m the mean of a session after one of them, it earns p (m - mean of all) a session and varies by
    p (1 - p) of a session's variance.
    """
    share = (min(high, HIGHEST) - LOWEST) / (HIGHEST - LOWEST)
    half = (MIDDLE - LOWEST) / (HIGHEST - LOWEST)
    mean = edge * min(share, half) - share * edge * half
    return mean / math.sqrt(share * (1 - share)) * math.sqrt(SESSIONS)
