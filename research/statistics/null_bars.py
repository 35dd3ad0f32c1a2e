"""Bars in which the past says nothing of the direction of the next bar, and all else is as it was.

For the null replay of a search whose decisions follow from the bars that it trades. To move its decisions
against the bars is not the same as to trade where there is nothing to find: a rule that follows or fades what
the bars did gains in trends and loses between them, or the other way round, by its construction and without
an edge, and decisions that were moved do not. Half a year of memory makes a level of 5 % one of 10 %.

So the bars are made anew, and everything is computed from them again. Each bar keeps its time, its volume and
how far it went from the close before; whether up or down is drawn (the sign-flip test, Fisher 1935; the wild
bootstrap, Wu 1986 and Liu 1988). Calm and wild times stay where they were, and so does what the market gave
to everybody: means stay, and the last close is the one that it was. A search finds as much on bars made so as
on bars that are one such draw themselves; that ups and downs are alike but for the mean is assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lockstep.errors import ConfigError
from lockstep.market.bars import Bars, Flags, Floats
from lockstep.market.continuous import require_one_contract
from lockstep.market.history import History


def redrawn_history(history: History, seed: int | Sequence[int]) -> History:
    """Return a history whose bars have their directions drawn; bars of one moment share theirs.

    ConfigError where it holds several timeframes: those of a longer one would not be made of the others.

    >>> from lockstep.market.loader import load_history
    >>> history = load_history("SPX", start="2010-01-04", end="2010-12-31")
    >>> key = next(iter(history.bars))
    >>> made = redrawn_history(history, 1).series(key)
    >>> bool(made.close[-1].round(2) == history.series(key).close[-1].round(2))
    True
    """
    frames = sorted({str(key.timeframe) for key in history.bars})
    if len(frames) > 1:
        raise ConfigError(
            f"bars of {', '.join(frames)}: directions are drawn for bars of one timeframe; load one"
        )
    stamps = np.unique(np.concatenate([bars.end for bars in history.bars.values()]))
    turned = np.random.default_rng(seed).random(stamps.size) < 0.5
    return replace(
        history,
        bars={
            key: redrawn(bars, turned[np.searchsorted(stamps, bars.end)])
            for key, bars in history.bars.items()
        },
    )


def redrawn(bars: Bars, turned: Flags) -> Bars:
    """Return n bars of which those that are `turned`, bool (n,), went the other way, as far.

    Open and close are measured from the close before, in logarithms, and in points where rolls moved the
    prices or one of them is not positive. Less their means they change their sign; the wicks change places.
    Then the means are what they were. The first bar, which has no close before, is measured from its open.
    """
    require_one_contract(bars, "the null of redrawn bars")
    points = bars.adjustment == "difference" or not bool((bars.low > 0.0).all())
    prices = np.array([bars.open, bars.high, bars.low, bars.close])
    opened, high, low, closed = prices if points else np.log(prices)
    before = np.concatenate((opened[:1], closed[:-1]))
    gaps, changes = _turned(opened - before, turned), _turned(closed - before, turned)
    close = opened[0] + np.cumsum(changes)
    start = np.concatenate((opened[:1], close[:-1])) + gaps
    upper, lower = high - np.maximum(opened, closed), np.minimum(opened, closed) - low
    top = np.maximum(start, close) + np.where(turned, lower, upper)
    bottom = np.minimum(start, close) - np.where(turned, upper, lower)
    made = np.array([start, top, bottom, close])
    if not points:
        made = np.exp(made)
    # Of values that are equal up to rounding, one may come out on the wrong side.
    return replace(
        bars, open=made[0], high=made[[0, 1, 3]].max(axis=0), low=made[[0, 2, 3]].min(axis=0), close=made[3]
    )


def _turned(moves: Floats, turned: Flags) -> Floats:
    """Return moves with some of them mirrored at their mean, which stays."""
    mean = moves.mean()
    found: Floats = np.where(turned, 2.0 * mean - moves, moves)
    found -= found.mean() - mean
    return found
