"""Revised history: what a series was when it was looked at before, month by month, and what it is now.

A file grows every day. What it held before should be there still: evidence rests on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from lockstep.market.bars import BAR_COLUMNS, Bars, Stamps
from lockstep.market.quality.finding import Finding, counted, runs, stretches
from lockstep.market.sessions import Session

_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class HistoryDigest:
    """What a series holds, by hashes.

    first, last   ends of the first and last bar, UTC ns; bars: how many there are
    months        by month of the session date ("2016-03"): SHA-256 of its bars, the first 16 digits (hex)
    """

    bars: int
    first: int
    last: int
    months: Mapping[str, str]

    @classmethod
    def of(cls, bars: Bars, session: Session) -> Self:
        """Hash a series of at least one bar."""
        months = session.dates(bars.end, bars.timeframe).astype("M8[M]")
        return cls(
            bars=len(bars),
            first=int(bars.end[0]),
            last=int(bars.end[-1]),
            months={str(months[a]): _hash(bars, a, b) for a, b in _stretches(months.astype(np.int64))},
        )


def revision(before: HistoryDigest, bars: Bars, session: Session) -> Finding | None:
    """Return which months of a series are not what they were, None where all are.

    Bars before the first and after the last one that were there are new, and revise nothing.

    A warning, but for a series that is adjusted for rolls and changed in all months: a roll does that.
    """
    first, last = np.searchsorted(bars.end, [before.first, before.last + 1]).tolist()
    if first == last:
        return _finding("all", len(before.months), f"none of the {before.bars:,} bars is there any more")
    now = HistoryDigest.of(bars.rows(first, last), session)
    months = {*before.months, *now.months}
    changed = sorted(each for each in months if before.months.get(each) != now.months.get(each))
    if not changed:
        return None
    numbers = np.array(changed, dtype="M8[M]").astype(np.int64)
    named = stretches(numbers, lambda each: str(np.datetime64(int(each), "M")))
    counts = f"{before.bars:,} bars before, {now.bars:,} now"
    everything = len(changed) >= len(before.months)
    if bars.adjustment != "none" and everything and before.bars == now.bars:
        said = f"all {counted(len(changed), 'month')} changed at once, as a roll changes adjusted prices"
        return _finding(changed[0], len(changed), said, severity="note")
    spans = tuple(_span(bars, session, first, last) for first, last in runs(numbers))
    said = (
        f"{counted(len(changed), 'month')} of history changed since it was looked at last: {named} ({counts})"
    )
    return _finding(changed[0], len(changed), said, spans=tuple(each for each in spans if each is not None))


def _finding(where: str, count: int, said: str, **more: object) -> Finding:
    return Finding(kind="revised", where=where, count=count, sentence=said, **more)  # type: ignore[arg-type]


def _span(bars: Bars, session: Session, first: int, last: int) -> tuple[int, int] | None:
    """Return the ends of the first and last bar from a month to another, None where there is none."""
    months = session.dates(bars.end, bars.timeframe).astype("M8[M]").astype(np.int64)
    rows = np.flatnonzero((months >= first) & (months <= last))
    return (int(bars.end[rows[0]]), int(bars.end[rows[-1]])) if rows.size else None


def _stretches(numbers: Stamps) -> list[tuple[int, int]]:
    starts = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]]))
    return list(zip(starts.tolist(), [*starts[1:].tolist(), numbers.size], strict=True))


def _hash(bars: Bars, first: int, stop: int) -> str:
    found = hashlib.sha256()
    for name in ("end", *BAR_COLUMNS):
        # -0.0 and 0.0 are one price.
        found.update(np.ascontiguousarray(getattr(bars, name)[first:stop] + 0).tobytes())
    return found.hexdigest()[:_DIGITS]
