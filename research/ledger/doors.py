"""The door for a run by hand: what it is going to show of sealed dates is said, and counted as a look.

Whoever shows a result on sealed dates opens them, a run by hand as much as a promotion. The engines behind
the door (`run_backtest`, `sweep`, `trace`) know nothing of it: who may call them is a list, see
`tests/unit/test_doors.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from lockstep.market.dates import DateRange
from lockstep.market.families import Families, load_families
from lockstep.market.history import History, SeriesKey
from research.ledger.kinship import Series
from research.ledger.ledger import Ledger


def introduce(
    ledger: Ledger, history: History, key: SeriesKey, family: str, *, now: datetime
) -> tuple[str, ...]:
    """Let the ledger know the traded bars, before anything is run on them; sentences on markets alike.

    By its bars a market is found under another name: what was tried and looked at there counts here.
    """
    return ledger.introduce(
        Series.of(history.series(key), history.markets[key.symbol], family=family), now=now
    )


def open_door(
    ledger: Ledger,
    history: History,
    key: SeriesKey,
    span: DateRange,
    *,
    purpose: str,
    now: datetime,
    also: Sequence[DateRange] = (),
    families: Families | None = None,
) -> tuple[str, ...]:
    """Introduce the bars, and count a look where a run by hand is going to show sealed dates; lines to print.

    history, key   bars of the run and which of them are traded; span: the session dates that it trades
    purpose        what the ledger is told, such as `backtest of ibs_baseline`

    To be called before the run: a look that was interrupted was a look. NoBars where the span holds no bar.
    """
    market, bars = history.markets[key.symbol], history.series(key)
    rows = span.select(bars, market)
    ends = market.session.dates(bars.end[[rows.start, rows.stop - 1]], bars.timeframe)
    first, last = ends.astype("datetime64[D]").tolist()
    family = (families or load_families()).of(market.instrument)
    shown = DateRange(start=first, end=last)
    told = introduce(ledger, history, key, family, now=now)
    look = ledger.open_door(family, key.symbol, shown, purpose=purpose, now=now, also=also)
    return told if look is None else (*told, look)
