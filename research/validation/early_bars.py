"""Bars stamped before they are complete: a series that shows the running day.

Cutting the history by stamps cannot find it, since such a bar hides behind the cut it should be cut by.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lockstep.market.bars import Bars, Floats
from lockstep.market.history import History, SeriesKey
from lockstep.market.sessions import Session
from research.validation.verdicts import Finding, clock

# A series shown early agrees with the traded one at the next stamp, and misses it by a bar's move at its
# own. Sources that disagree for another reason (adjustment, vendor) miss it by about as much at both.
_CLEARLY_NEARER = 0.5


def early_bars(history: History, traded: SeriesKey) -> tuple[Finding, ...]:
    """Return one finding per series of `history` that is stamped early, with its first such bar.

    A session bar is complete at its session's close, at no other moment. Bars of the traded instrument at
    a longer timeframe must close where the traded bars stood at their end, not where these stand one of
    the longer bars later.
    """
    found: list[Finding] = []
    for key, bars in sorted(history.bars.items()):
        market = history.markets.get(key.symbol)
        series = [*_off_the_close(key, bars, market.session)] if market else []
        if not series and key.symbol == traded.symbol and key != traded:
            series = [*_like_the_next(key, bars, history.series(traded))]
        found += series
    return tuple(found)


def _off_the_close(key: SeriesKey, bars: Bars, session: Session) -> Iterator[Finding]:
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
        yield Finding(what=str(key), stamp=int(bars.end[row]), cut=None, cause=cause)


def _like_the_next(key: SeriesKey, bars: Bars, traded: Bars) -> Iterator[Finding]:
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
        yield Finding(what=str(key), stamp=int(bars.end[row]), cut=None, cause=cause)


def _miss(closes: Floats, others: Floats) -> Floats:
    return np.asarray(np.abs(closes - others))
