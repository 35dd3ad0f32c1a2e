"""Quality of bars: what is legal but suspicious. Nothing is refused here, everything is said."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lockstep.market.bars import Bars, Floats, Stamps
from lockstep.market.finding import Finding
from lockstep.market.quality_prices import price_findings
from lockstep.market.quality_schedule import schedule_findings
from lockstep.market.session_kernels import HOUR
from lockstep.market.sessions import Dates, Session

STALE_OPEN_SHARE = 0.20
FLAT_BARS = 5
_ROUNDING = 1e-4
_ENOUGH = 50  # session opens, to judge a share of them
ZERO_VOLUME_SHARE = 0.05
FLAT_NS = 2 * HOUR  # of intraday bars, whose prices often stand still for minutes
_STALE_MEANS = "a fill at the next open is a fill at the close"


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

    def _repr_html_(self) -> str:
        from lockstep import views

        return views.quality(self)


def assess(bars: Bars, session: Session) -> QualityReport:
    """Look for stale opens, flat stretches, missing volume, departures from the calendar, spikes, jumps."""
    dates = session.dates(bars.end, bars.timeframe)
    gaps, years = opening_gaps(bars, dates)
    with ThreadPoolExecutor(1) as beside:
        prices = beside.submit(price_findings, bars, dates, session)
        findings = [
            *_stale_findings(gaps, years),
            *_flat(bars, dates),
            *_no_volume(bars),
            *schedule_findings(bars, dates, session),
            *prices.result(),
        ]
    return QualityReport(
        symbol=bars.symbol,
        timeframe=str(bars.timeframe),
        bars=len(bars),
        first=str(dates[0]) if dates.size else "",
        last=str(dates[-1]) if dates.size else "",
        stale_open_share=float((gaps == 0).mean()) if gaps.size else float("nan"),
        findings=tuple(findings),
    )


def opening_gaps(bars: Bars, dates: Dates) -> tuple[Floats, Stamps]:
    """Return, for every session but the first, its open less the previous close (points), and its year.

    Only the first bar of a session is looked at: within one, an open at the last close is normal.
    """
    opening = np.flatnonzero(np.diff(dates).astype(np.int64) != 0) + 1
    years = dates[opening].astype("M8[Y]").astype(np.int64) + 1970
    return bars.open[opening] - bars.close[opening - 1], years


def by_chance(gaps: Floats, tick: float) -> float:
    """Return how many gaps of 0 chance explains: as many as there are of one tick, up or down.

    Corn in steps of a quarter cent opens at its previous close on a fifth of the days, and one step beside
    it as often.
    """
    return float(np.isclose(np.abs(gaps), tick, rtol=0.1, atol=0).sum()) / 2 if tick else 0.0


def _stale_findings(gaps: Floats, years: Stamps) -> list[Finding]:
    moved = np.abs(gaps[gaps != 0])
    # Sums of adjustments leave differences in the last digits, which are no ticks.
    real = moved[moved > _ROUNDING * np.median(moved)] if moved.size else moved
    tick = float(real.min()) if real.size else 0.0
    flagged = []
    for where in ("all", *np.unique(years).tolist()):
        chosen = gaps if where == "all" else gaps[years == where]
        count = int((chosen == 0).sum())
        excess = count - by_chance(chosen, tick)
        if chosen.size >= _ENOUGH and excess > STALE_OPEN_SHARE * chosen.size:
            of = "all opens" if where == "all" else f"the opens of {where}"
            sentence = f"{count / chosen.size:.0%} of {of} equal the previous close: {_STALE_MEANS}"
            flagged.append(Finding(kind="stale_open", where=str(where), count=count, sentence=sentence))
    return flagged


def _flat(bars: Bars, dates: Dates) -> list[Finding]:
    starts = np.flatnonzero(np.concatenate([[True], np.diff(bars.close) != 0]))
    lengths = np.diff(np.append(starts, len(bars)))
    least = FLAT_BARS if bars.timeframe.is_session else max(FLAT_BARS, FLAT_NS // bars.timeframe.nanoseconds)
    long = lengths >= least
    if not long.any():
        return []
    longest = int(lengths.argmax())
    sentence = (
        f"{int(long.sum()):,} stretches of {least} or more equal closes, the longest "
        f"{int(lengths[longest]):,} bars from {dates[starts[longest]]}"
    )
    spans = tuple(
        (int(bars.end[a]), int(bars.end[a + n - 1])) for a, n in zip(starts[long], lengths[long], strict=True)
    )
    where = str(dates[starts[long][0]])
    return [Finding(kind="flat", where=where, count=int(long.sum()), sentence=sentence, spans=spans)]


def _no_volume(bars: Bars) -> list[Finding]:
    count = int((bars.volume == 0).sum())
    if count <= ZERO_VOLUME_SHARE * len(bars):
        return []
    sentence = f"{count / len(bars):.0%} of the bars have no volume: volume features mean little"
    return [Finding(kind="no_volume", where="all", count=count, sentence=sentence)]
