"""All checks of data over five million minutes: fourteen years of a future."""

from __future__ import annotations

from benchmarks.measure import Measured, once
from benchmarks.minutes import BARS, SYMBOL, minute_bars
from lockstep.market.config import load_instruments
from lockstep.market.quality import assess

_PROMISE = 10.0  # seconds


def checking() -> Measured:
    """Measure one pass over bars in memory, compiled code loaded."""
    book = load_instruments()
    session, instrument = book.session(SYMBOL), book.instrument(SYMBOL)
    assess(minute_bars(30_000), session, instrument)
    bars = minute_bars()
    seconds = once(lambda: assess(bars, session, instrument))
    note = f"{BARS:,} minutes, all checks"
    return Measured(what="quality of data", value=seconds, unit="s", promise=_PROMISE, note=note)
