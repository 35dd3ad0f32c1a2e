"""Bars stamped before they are complete: a series that shows the running day.

Cutting the history by stamps cannot find it, since such a bar hides behind the cut it should be cut by.

Other futures: the same history up to a cut, and something else behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from lockstep.market.bars import Bars, Floats
from lockstep.market.history import History, SeriesKey
from lockstep.market.sessions import Session
from research.checks.verdicts import LookaheadFinding, clock

# A series shown early agrees with the traded one at the next stamp, and misses it by a bar's move at its
# own. Sources that disagree for another reason (adjustment, vendor) miss it by about as much at both.
_CLEARLY_NEARER = 0.5


def early_bars(history: History, traded: SeriesKey) -> tuple[LookaheadFinding, ...]:
    """Return one finding per series of `history` that is stamped early, with its first such bar.

    A session bar is complete at its session's close, at no other moment. Bars of the traded instrument at
    a longer timeframe must close where the traded bars stood at their end, not where these stand one of
    the longer bars later.
    """
    found: list[LookaheadFinding] = []
    for key, bars in sorted(history.bars.items()):
        market = history.markets.get(key.symbol)
        series = [*_off_the_close(key, bars, market.session)] if market else []
        if not series and key.symbol == traded.symbol and key != traded:
            series = [*_like_the_next(key, bars, history.series(traded))]
        found += series
    return tuple(found)


def _off_the_close(key: SeriesKey, bars: Bars, session: Session) -> Iterator[LookaheadFinding]:
    if not key.timeframe.is_session or not len(bars):
        return
    closes = session.nominal_close(session.dates(bars.end, key.timeframe))
    # Made of intraday bars of a time with longer hours, a session bar ends with those.
    longer = session.bucket_end(bars.end, key.timeframe, closed="right") == bars.end
    off = np.flatnonzero((bars.end != closes) & ~longer)
    if off.size:
        row = int(off[0])
        cause = (
            f"not stamped at its session's close, {clock(int(closes[row]))}: it may show a running session"
        )
        yield LookaheadFinding(what=str(key), stamp=int(bars.end[row]), cut=None, cause=cause)


def _like_the_next(key: SeriesKey, bars: Bars, traded: Bars) -> Iterator[LookaheadFinding]:
    rows = np.searchsorted(traded.end, bars.end, side="right") - 1
    # The last bar has no next one; bars outside the traded history cannot be compared.
    usable = np.flatnonzero((rows[:-1] >= 0) & (bars.end[1:] <= traded.end[-1]))
    if not usable.size:
        return
    own, following = traded.close[rows[usable]], traded.close[rows[usable + 1]]
    miss, next_miss = _miss(bars.close[usable], own), _miss(bars.close[usable], following)
    nearer = np.flatnonzero(next_miss < miss)
    if nearer.size and np.median(next_miss) < _CLEARLY_NEARER * np.median(miss):
        row = int(usable[nearer[0]])
        cause = (
            f"its close {bars.close[row]:g} is that of {traded.symbol}:{traded.timeframe} one bar later "
            f"({following[nearer[0]]:g}), not at its end ({own[nearer[0]]:g}): it shows the running bar"
        )
        yield LookaheadFinding(what=str(key), stamp=int(bars.end[row]), cut=None, cause=cause)


def _miss(closes: Floats, others: Floats) -> Floats:
    return np.asarray(np.abs(closes - others))


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
