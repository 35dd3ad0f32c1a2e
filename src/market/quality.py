"""Quality of bars: what is legal but suspicious. Nothing is refused here, everything is said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lockstep.market.bars import Bars, Flags, Floats, Stamps
from lockstep.market.sessions import Dates, Session

STALE_OPEN_SHARE = 0.20
FLAT_BARS = 5
ZERO_VOLUME_SHARE = 0.05
JUMP_SIGMAS = 20.0

# The median absolute deviation of a normal distribution is this part of its standard deviation.
_MAD_OF_NORMAL = 0.6745
_LISTED = 5
_STALE_MEANS = "a fill at the next open is a fill at the close"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of suspicious thing: where it is, how often, and a sentence that says so."""

    kind: str
    where: str
    count: int
    sentence: str


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """What was found in one series.

    stale_open_share   sessions that open exactly at the previous close, 0 … 1; NaN below two sessions
    """

    symbol: str
    timeframe: str
    bars: int
    first: str
    last: str
    stale_open_share: float
    findings: tuple[Finding, ...]

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)


def assess(bars: Bars, session: Session) -> QualityReport:
    """Look for stale opens, flat stretches, gaps against the calendar, missing volume and price jumps."""
    dates = session.dates(bars.end, bars.timeframe)
    stale, years = stale_opens(bars, dates)
    findings = [
        *_stale_findings(stale, years),
        *_flat(bars, dates),
        *_gaps(bars, dates, session),
        *_no_volume(bars),
        *_jumps(bars, dates),
    ]
    return QualityReport(
        symbol=bars.symbol,
        timeframe=str(bars.timeframe),
        bars=len(bars),
        first=str(dates[0]) if dates.size else "",
        last=str(dates[-1]) if dates.size else "",
        stale_open_share=float(stale.mean()) if stale.size else float("nan"),
        findings=tuple(findings),
    )


def stale_opens(bars: Bars, dates: Dates) -> tuple[Flags, Stamps]:
    """Return, for every session but the first, whether it opens at the previous close, and its year.

    Only the first bar of a session is looked at: within one, an open at the last close is normal.
    """
    opening = np.flatnonzero(np.diff(dates).astype(np.int64) != 0) + 1
    years = dates[opening].astype("M8[Y]").astype(np.int64) + 1970
    return np.asarray(bars.open[opening] == bars.close[opening - 1]), years


def _stale_findings(stale: Flags, years: Stamps) -> list[Finding]:
    flagged = []
    for year in np.unique(years):
        share, count = float(stale[years == year].mean()), int(stale[years == year].sum())
        if share > STALE_OPEN_SHARE:
            sentence = f"{share:.0%} of the opens of {year} equal the previous close: {_STALE_MEANS}"
            flagged.append(Finding(kind="stale_open", where=str(year), count=count, sentence=sentence))
    if stale.size and stale.mean() > STALE_OPEN_SHARE:
        sentence = f"{stale.mean():.0%} of all opens equal the previous close: {_STALE_MEANS}"
        flagged.insert(0, Finding(kind="stale_open", where="all", count=int(stale.sum()), sentence=sentence))
    return flagged


def _flat(bars: Bars, dates: Dates) -> list[Finding]:
    starts = np.flatnonzero(np.concatenate([[True], np.diff(bars.close) != 0]))
    lengths = np.diff(np.append(starts, len(bars)))
    long = lengths >= FLAT_BARS
    if not long.any():
        return []
    where, longest = str(dates[starts[long][0]]), int(lengths.max())
    sentence = f"{int(long.sum())} stretches of {FLAT_BARS} or more equal closes, the longest {longest} bars"
    return [Finding(kind="flat", where=where, count=int(long.sum()), sentence=sentence)]


def _gaps(bars: Bars, dates: Dates, session: Session) -> list[Finding]:
    if not dates.size:
        return []
    scheduled, present = session.scheduled_dates(dates[0], dates[-1]), np.unique(dates)
    missing, unknown = np.setdiff1d(scheduled, present), np.setdiff1d(present, scheduled)
    outside = ~session.in_session(bars.end, bars.timeframe)
    name = session.template.calendar
    found = [
        _dated("missing_session", missing, f"scheduled sessions of {name} have no bar"),
        _dated("unknown_session", unknown, f"days with bars are no sessions of {name}"),
    ]
    if outside.any():
        sentence = f"{int(outside.sum())} bars lie outside the session: they never trigger a decision"
        where = str(dates[outside][0])
        found.append([Finding(kind="outside", where=where, count=int(outside.sum()), sentence=sentence)])
    return [finding for group in found for finding in group]


def _dated(kind: str, days: Dates, sentence: str) -> list[Finding]:
    if not days.size:
        return []
    listed = ", ".join(map(str, days[:_LISTED])) + (" …" if days.size > _LISTED else "")
    text = f"{days.size} {sentence}: {listed}"
    return [Finding(kind=kind, where=str(days[0]), count=int(days.size), sentence=text)]


def _no_volume(bars: Bars) -> list[Finding]:
    count = int((bars.volume == 0).sum())
    if count <= ZERO_VOLUME_SHARE * len(bars):
        return []
    sentence = f"{count / len(bars):.0%} of the bars have no volume: volume features say little"
    return [Finding(kind="no_volume", where="all", count=count, sentence=sentence)]


def _jumps(bars: Bars, dates: Dates) -> list[Finding]:
    changes = np.diff(bars.close)
    sigma = robust_sigma(changes)
    jumps = np.flatnonzero(np.abs(changes) > JUMP_SIGMAS * sigma) + 1 if sigma > 0 else np.empty(0, np.int64)
    if not jumps.size:
        return []
    days = np.unique(dates[jumps])
    return _dated("jump", days, f"days with a change of the close beyond {JUMP_SIGMAS:g} robust sigmas")


def robust_sigma(changes: Floats) -> float:
    """Return the standard deviation that the median size of the changes other than 0 stands for; 0 if none.

    Rousseeuw and Croux (1993), Alternatives to the median absolute deviation: 1.4826 times the median.
    """
    moved = np.abs(changes[changes != 0])
    return float(np.median(moved)) / _MAD_OF_NORMAL if moved.size else 0.0
