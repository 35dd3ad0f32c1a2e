"""How far this process can see: with `LOCKSTEP_BARS_UNTIL`, no bar after that session date is ever read.

A process that looks for strategies must not find what will judge them, whatever code runs in it. So the last
date is read from the environment once, when this module is imported, and holds for every file from then on;
the cut is where files become bars, below every loader.
"""

from __future__ import annotations

import os
from datetime import date

import numpy as np

from lockstep.errors import ConfigError
from lockstep.market.bars import Bars
from lockstep.market.sessions import Session
from lockstep.market.ticks import Ticks

BARS_UNTIL = "LOCKSTEP_BARS_UNTIL"


def _declared() -> date | None:
    text = os.environ.get(BARS_UNTIL)
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{BARS_UNTIL}={text!r}: must be a date like 2024-01-31") from error


UNTIL: date | None = _declared()
"""Last session date of any bar that is read here; None: no bar is kept back."""


def reached(bars: Bars, session: Session) -> Bars:
    """Return the bars that may be seen."""
    if UNTIL is None:
        return bars
    dates = session.dates(bars.end, bars.timeframe)
    return bars.rows(0, int(np.searchsorted(dates, np.datetime64(UNTIL), side="right")))


def reached_ticks(ticks: Ticks, session: Session | None) -> Ticks:
    """Return the ticks that may be seen; without a session, none of the last day either."""
    if UNTIL is None:
        return ticks
    if session is None:
        last = np.datetime64(UNTIL, "ns").astype(np.int64)
        return ticks.rows(0, int(np.searchsorted(ticks.stamp, last)))
    dates = session.dates(ticks.stamp)
    return ticks.rows(0, int(np.searchsorted(dates, np.datetime64(UNTIL), side="right")))
