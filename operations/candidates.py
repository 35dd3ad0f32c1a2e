"""Forward evidence from end to end: register what a search found, see new bars, score it, decide.

A candidate is judged on bars that did not exist when it was registered, as they were first seen. It needs no
process of its own: research equals live on recorded bars, so it is run over them again whenever somebody
asks, and each session is scored once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np

from lockstep.errors import ExperimentError
from lockstep.live.journal import Journal
from lockstep.live.messages import Values
from lockstep.market.bars import BAR_COLUMNS, Bars, Floats
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.models.evidence import FORWARD
from lockstep.models.manifest import Evidence
from lockstep.models.store import ModelStore
from lockstep.monitoring.eprocess import SESSIONS, alarm_threshold, e_detector, first_reached
from operations.contenders import Contender, deepest_fall, newest
from research.ledger.candidates import (
    AT_RISK,
    ENDINGS,
    FULL_SIZE,
    PILOTED,
    RETIRED,
    ForwardCandidate,
    ForwardEvent,
    candidates,
    happened,
    score,
    sessions_of,
)
from research.ledger.first_seen import Sighting, last_seen, see, seen_bars
from research.ledger.ledger import Ledger

Rows = tuple[tuple[int, Values], ...]


def observe_files(
    ledger: Ledger, open_candidates: Sequence[ForwardCandidate], data_dir: Path | None, source: str | None, *,
    now: datetime, book: InstrumentBook | None = None,
) -> dict[SeriesKey, Sighting]:  # fmt: skip
    """See the new bars of every series that a candidate reads, from files."""
    book = book or load_instruments()
    found: dict[SeriesKey, Sighting] = {}
    for each in open_candidates:
        contender = Contender.of_candidate(each)
        missing = [key for key in contender.keys(book) if key not in found]
        if not missing:
            continue
        history = load_history(
            contender.symbol, data_dir, timeframe=contender.config.bars, context=contender.keys(book),
            book=book, source=source,
        )  # fmt: skip
        for key in missing:
            bars = history.series(key)
            recent = newest(bars, _since(bars, each.stamp) + contender.lookback(key), now)
            found[key] = see(ledger, key, recent, now=now, source=bars.source)
    return found


def observe_journal(
    ledger: Ledger, open_candidates: Sequence[ForwardCandidate], journal: Path, *, now: datetime
) -> dict[SeriesKey, Sighting]:
    """See the bars that a live engine recorded: what it had when it decided is what was first seen.

    Of what warmed it up, only what is newer than all that was seen before: else there would be a hole in the
    windows between the files that were seen last and the engine's first bar.
    """
    book, found = load_instruments(), {}
    keys = {key for each in open_candidates for key in Contender.of_candidate(each).keys(book)}
    with Journal.open(journal, readonly=True) as reader:
        epochs = reader.epochs()
        for key in sorted(keys):
            rows = reader.first_bars(key)
            if not rows:
                continue
            rows = _with_warmup(rows, [each.warmup.get(key, ()) for each in epochs], last_seen(ledger, key))
            end = np.array([row[0] for row in rows], dtype=np.int64)
            values = np.array([row[1] for row in rows], dtype=np.float64).T
            columns = dict(zip(BAR_COLUMNS, values, strict=True))
            bars = Bars(symbol=key.symbol, timeframe=key.timeframe, end=end, source=str(journal), **columns)
            found[key] = see(ledger, key, bars, now=now, source="journal")
    return found


def _with_warmup(rows: Rows, warmups: Sequence[Rows], newest: int) -> Rows:
    """Return bars of a series with those of warm-ups that end after `newest`, where none came in later."""
    found: dict[int, Values] = {}
    for end, values in (each for warmup in warmups for each in warmup if each[0] > newest):
        found.setdefault(end, values)
    return tuple(sorted({**found, **dict(rows)}.items()))


def _since(bars: Bars, stamp: int) -> int:
    return len(bars) - int(np.searchsorted(bars.end, stamp, side="right"))


def scored(
    ledger: Ledger, candidate: ForwardCandidate, *, now: datetime, book: InstrumentBook | None = None
) -> Sequence[date]:
    """Run a candidate over its bars as first seen, and write and return the sessions that are complete.

    The session in which it was registered does not count, nor does one that may still get bars.
    """
    book = book or load_instruments()
    contender = Contender.of_candidate(candidate)
    history = History(
        bars={key: seen_bars(ledger, key) for key in contender.keys(book)}, markets=book.markets
    )
    key = SeriesKey(contender.symbol, contender.config.bars)
    bars = history.series(key)
    dates = history.markets[contender.symbol].session.dates(bars.end, bars.timeframe)
    first = int(np.searchsorted(bars.end, candidate.stamp, side="right"))
    if first >= len(bars) or dates[-1] <= dates[first]:
        return []
    start, last = dates[first] + 1, contender.last_complete(history)
    if last < start or not ((dates >= start) & (dates <= last)).any():
        return []
    run = contender.run(history, DateRange.of(str(start), str(last)))
    residuals = (run.returns - candidate.beta * run.market) / candidate.sigma
    return score(ledger, candidate, run.date, residuals, now=now)


def decisions(
    candidate: ForwardCandidate, dates: Sequence[date], residuals: Floats
) -> Iterator[ForwardEvent]:
    """Yield what became of a candidate by its scored sessions and was not written yet, in their order.

    dates   T session dates, rising; residuals float64 (T,), over sigma
    """
    path, known = candidate.evidence(residuals), {each.kind for each in candidate.events}
    found: list[tuple[int, ForwardEvent]] = []

    def add(kind: str, at: int, reason: str) -> None:
        event = ForwardEvent(kind=kind, session=dates[at], evidence=float(path[at]), reason=reason)
        found.append((at, event))

    reached = {size: int(first_reached(path, candidate.threshold(size))) for size in (PILOTED, FULL_SIZE)}
    for size, at in reached.items():
        if at >= 0 and size not in known:
            add(
                size,
                at,
                f"the evidence {path[at]:.1f} reached {candidate.threshold(size):.1f} in session {at + 1}",
            )
    begun = reached[PILOTED]
    if begun >= 0 and not known & set(ENDINGS):
        for kind, at, reason in _endings(candidate, residuals[begun + 1 :]):
            add(kind, begun + 1 + at, reason)
    found.sort(key=lambda each: each[0])
    for _, event in found:
        yield event
        if event.kind in ENDINGS:
            return


def _endings(candidate: ForwardCandidate, results: Floats) -> Iterator[tuple[str, int, str]]:
    """Yield why, and in which session after its promotion, a candidate is retired."""
    if not results.size:
        return
    alarm = int(first_reached(e_detector(results), alarm_threshold()))
    if alarm >= 0:
        yield RETIRED, alarm, "its edge is lost: such a run without loss of edge comes once in ten years"
    band = float(candidate.content["drawdown"])
    for at in range(results.size):
        if deepest_fall(results[max(0, at + 1 - SESSIONS) : at + 1]) > band:
            yield AT_RISK, at, f"its drawdown exceeds {band:.1f} deviations, the 1 % band of its registration"
            return


@dataclass(frozen=True, kw_only=True)
class CandidateProgress:
    """What an update did for one candidate."""

    candidate: ForwardCandidate
    sessions: int
    events: tuple[ForwardEvent, ...]
    trouble: str = ""


def update(ledger: Ledger, *, now: datetime, by: str) -> list[CandidateProgress]:
    """Score every open candidate, decide, and attach forward evidence to versions of model stores."""
    found = []
    for each in candidates(ledger):
        if each.ended:
            continue
        try:
            new = scored(ledger, each, now=now)
        except ExperimentError as error:
            found.append(CandidateProgress(candidate=each, sessions=0, events=(), trouble=str(error)))
            continue
        dates, residuals = sessions_of(ledger, each)
        events = tuple(decisions(each, dates.tolist(), residuals))
        happened(ledger, each, events, now=now)
        if events and each.kind == "model":
            kinds = {event.kind for event in (*each.events, *events)}
            attach_forward(each, kinds, residuals.size, now=now, by=by)
        found.append(CandidateProgress(candidate=each, sessions=len(new), events=events))
    return found


def attach_forward(
    candidate: ForwardCandidate, kinds: set[str], sessions: int, *, now: datetime, by: str
) -> None:
    """Attach what the events of a version mean for its promotion to the version in its store.

    kinds   of all its events up to now; sessions   that were scored
    """
    evidence = Evidence(
        kind=FORWARD,
        passed=not kinds & set(ENDINGS),
        bundle_sha256=candidate.hash,
        hashes={"candidate": candidate.name},
        issued=now,
        counts={"sessions": sessions, "full": int(FULL_SIZE in kinds)},
    )
    store = ModelStore(Path(candidate.content["store"]))
    store.attach(candidate.symbol, candidate.content["version"], evidence, by=by, now=now)
