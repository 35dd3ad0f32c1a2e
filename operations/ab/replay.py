"""Both arms on every signal: each runs again over the bars as they were first seen, as research would.

Research equals live on recorded bars, so neither arm needs a process of its own: whoever asks runs them over
the bars that the live engine's journal recorded, or that a file had when it was first read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.portfolio.split import CHALLENGER, CHAMPION
from operations.ab.arms import of_results
from operations.ab.book import AbTerms, AbTest, ArmSessions
from operations.candidates import observe_files, observe_journal
from operations.contenders import Contender
from research.ledger.candidates import ForwardCandidate
from research.ledger.first_seen import Sighting, seen_bars
from research.ledger.ledger import Ledger


def observed(
    ledger: Ledger, tests: Sequence[AbTest], *, now: datetime, data_dir: Path | None = None,
    source: str | None = None, journal: Path | None = None,
) -> Mapping[SeriesKey, Sighting]:  # fmt: skip
    """See the new bars that both arms of some tests read: those of a journal first, else those of files."""
    pairs = [_as_candidate(each) for each in tests]
    found = {} if journal is None else observe_journal(ledger, pairs, journal, now=now)
    if journal is None or data_dir is not None:
        found |= observe_files(ledger, pairs, data_dir, source, now=now)
    return found


def replayed(
    ledger: Ledger, test: AbTest, *, book: InstrumentBook | None = None
) -> Mapping[str, ArmSessions]:
    """Return the complete sessions of both arms since the test began, from its first one on.

    The session in which it was created does not count, nor does one that may still get bars. ExperimentError
    where an arm is not what it was, DataError where bars that it reads were never seen.
    """
    book = book or load_instruments()
    pair = Contender.of_candidate(_as_candidate(test))
    assert pair.champion is not None
    history = History(bars={key: seen_bars(ledger, key) for key in pair.keys(book)}, markets=book.markets)
    span = sessions_since(pair, history, test.stamp)
    arms = {CHAMPION: pair.champion, CHALLENGER: replace(pair, champion=None)}
    if span is None:
        return dict.fromkeys(arms, _NOTHING)
    return {arm: of_results(each.results(history, span), realised=False) for arm, each in arms.items()}


_NOTHING = ArmSessions(
    dates=np.empty(0, dtype="datetime64[D]"),
    results=np.empty(0),
    trades=np.empty(0, dtype=np.int64),
    won=np.empty(0, dtype=np.int64),
)


def sessions_since(pair: Contender, history: History, stamp: int) -> DateRange | None:
    """Return the complete sessions that began after `stamp`, UTC ns; None where there is none yet.

    The session in progress at `stamp` does not count: part of it was known.
    """
    bars = history.series(SeriesKey(pair.symbol, pair.config.bars))
    first = int(np.searchsorted(bars.end, stamp, side="right"))
    if first >= len(bars):
        return None
    dates = history.markets[pair.symbol].session.dates(bars.end, bars.timeframe)
    start, last = dates[first] + 1, pair.last_complete(history)
    if not ((dates >= start) & (dates <= last)).any():
        return None
    return DateRange.of(str(start), str(last))


def _as_candidate(test: AbTest) -> ForwardCandidate:
    """Return both arms in the form in which bars are seen and contenders found again."""
    terms: AbTerms = test.terms
    return ForwardCandidate(
        name=f"of A/B test {terms.name}",
        kind="strategy" if terms.challenger.kind == "strategy" else "model",
        symbol=terms.symbol,
        family="",
        hash=terms.challenger.hash,
        content={**terms.challenger.content, "champion": dict(terms.champion.content)},
        sigma=terms.sigma,
        beta=0.0,
        searched="adaptive",
        champion=terms.champion.hash,
        id=0,
        stamp=test.stamp,
        year=0,
        weight=0.0,
        recorded=test.recorded,
    )
