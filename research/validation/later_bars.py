"""Other futures: the same history up to a cut, and something else behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lockstep.market.bars import Bars, Floats
from lockstep.market.history import History

_SCALES = (0.7, 1.4)
_STRETCHES = (0.5, 2.0)
_MORE_VOLUME = 100.0


def dropped(history: History, cut: int) -> History:
    """Return the history without every bar, of any series, that ends after `cut` (UTC nanoseconds)."""
    return _changed(history, lambda bars: bars.rows(0, _known(bars, cut)))


def perturbed(history: History, cut: int, draw: np.random.Generator) -> History:
    """Return the history with other prices and volumes in every bar, of any series, that ends after `cut`.

    Stamps stay. Prices are scaled by one factor per series and shifted bar by bar, ranges stretched, opens
    and closes drawn anew within them, so that also what only looks at the shape of a bar moves. The bars
    are valid: low <= open, close <= high, volume >= 0.
    """
    return _changed(history, lambda bars: _redrawn(bars, _known(bars, cut), draw))


def _changed(history: History, change: Callable[[Bars], Bars]) -> History:
    return History(bars={key: change(bars) for key, bars in history.bars.items()}, markets=history.markets)


def _known(bars: Bars, cut: int) -> int:
    return int(np.searchsorted(bars.end, cut, side="right"))


def _redrawn(bars: Bars, first: int, draw: np.random.Generator) -> Bars:
    if first == len(bars):
        return bars
    later = bars.rows(first, len(bars))
    n, unit = len(later), float(np.mean(bars.high - bars.low)) or 1.0
    centre = draw.uniform(*_SCALES) * (later.high + later.low) / 2 + draw.normal(0.0, unit, n)
    reach = ((later.high - later.low) / 2 + unit * draw.random(n)) * draw.uniform(*_STRETCHES, n)
    low, high = centre - reach, centre + reach

    def inside() -> Floats:
        return np.clip(centre + reach * draw.uniform(-1.0, 1.0, n), low, high)

    return replace(
        bars,
        open=np.append(bars.open[:first], inside()),
        high=np.append(bars.high[:first], high),
        low=np.append(bars.low[:first], low),
        close=np.append(bars.close[:first], inside()),
        volume=np.append(
            bars.volume[:first],
            later.volume * draw.uniform(*_STRETCHES, n) + np.floor(_MORE_VOLUME * draw.random(n)),
        ),
    )
