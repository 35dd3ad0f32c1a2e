"""`assess`: all checks over one series, and the score that a gate asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lockstep.errors import PoorData
from lockstep.market.bars import Bars, Flags, Floats, Stamps
from lockstep.market.instrument import Instrument
from lockstep.market.quality.case import QualityCase
from lockstep.market.quality.checks import CHECKS
from lockstep.market.quality.finding import Finding
from lockstep.market.quality.repeats import opening_gaps
from lockstep.market.sessions import Dates, Session

# How much a warning spoils the sessions that it is about: what makes prices wrong all of it, and what leaves
# them right some.
WEIGHTS: Mapping[str, float] = {
    "stale_open": 0.5, "flat": 0.5, "off_grid": 0.5, "no_range": 0.5, "thin_session": 0.5,
    "no_volume": 0.25, "silent": 0.25, "volume_unit": 0.25, "thin_minute": 0.25, "outside": 0.25,
}  # fmt: skip
# Where the unit changes, nobody can say which part of the series is right.
_WHOLE = frozenset(("scale",))
# These spans end with the first bar after what is missing, whose session is whole.
_EXCLUSIVE = frozenset(("missing_session",))


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """What was found in one series.

    score      0 … 100: the share of the sessions, in percent, that no warning is about. One that several are
               about counts once, by the gravest (`WEIGHTS`); notes do not count; 100 without bars
    sessions   of the calendar or with bars, from the first bar's to the last bar's
    stale_open_share   sessions that open exactly at the previous close, 0 … 1; NaN below two sessions
    """

    symbol: str
    timeframe: str
    bars: int
    first: str
    last: str
    stale_open_share: float
    findings: tuple[Finding, ...]
    sessions: int = 0
    score: float = 100.0

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)

    @property
    def series(self) -> str:
        """The name of the series, as "ES:1min"."""
        return f"{self.symbol}:{self.timeframe}"

    @property
    def warnings(self) -> int:
        """How many findings may make results wrong."""
        return sum(each.severity == "warning" for each in self.findings)

    @property
    def shown_score(self) -> str:
        """The score with two decimals, rounded down: only a series without a warning has 100.00.

        >>> QualityReport(symbol="ES", timeframe="1d", bars=0, first="", last="", stale_open_share=0.0,
        ...               findings=(), score=99.9999).shown_score
        '99.99'
        """
        return f"{math.floor(self.score * 100 + 1e-9) / 100:.2f}"

    def require(self, least: float) -> None:
        """Raise PoorData, naming the gravest finding, where the score is below `least`."""
        if self.score >= least:
            return
        warnings = [each for each in self.findings if each.severity == "warning"]
        first = max(warnings, key=lambda each: (WEIGHTS.get(each.kind, 1.0), each.count))
        more = f" (and {len(warnings) - 1} more findings)" if len(warnings) > 1 else ""
        raise PoorData(
            f"{self.symbol} {self.timeframe}: quality {self.shown_score}, below min_quality {least:g}: "
            f"{first.kind}: {first.sentence}{more}; `lockstep data check` shows all of it: mend the file, or "
            "lower min_quality"
        )

    def _repr_html_(self) -> str:
        from lockstep import views

        return views.quality(self)


def assess(bars: Bars, session: Session, instrument: Instrument | None = None) -> QualityReport:
    """Look through a series for all that is legal but suspicious; see `CHECKS`.

    instrument   whose tick prices must be on; None: that is not looked at
    """
    case = QualityCase(bars=bars, session=session, instrument=instrument)
    findings = _found(case) if len(bars) else ()
    gaps = opening_gaps(case)[0] if len(bars) else np.zeros(0)
    days = _sessions(case)
    return QualityReport(
        symbol=bars.symbol,
        timeframe=str(bars.timeframe),
        bars=len(bars),
        first=str(case.dates[0]) if len(bars) else "",
        last=str(case.dates[-1]) if len(bars) else "",
        stale_open_share=float((gaps == 0).mean()) if gaps.size else float("nan"),
        findings=findings,
        sessions=days.size,
        score=100.0 * (1.0 - float(spoilt(findings, days, session).mean())) if days.size else 100.0,
    )


def _found(case: QualityCase) -> tuple[Finding, ...]:
    """Return what all checks find, in their order; half of them work beside the other half."""
    checks = [each for each in CHECKS if not (each.intraday and case.bars.timeframe.is_session)]
    # What many of them need, so that it is worked out once.
    _ = case.scale, case.changes
    if not case.bars.timeframe.is_session:
        _ = case.slots
    with ThreadPoolExecutor(2) as beside:
        found = list(beside.map(lambda each: tuple(each.find(case)), checks))
    return tuple(finding for each in found for finding in each)


def _sessions(case: QualityCase) -> Dates:
    """Return the sessions of a series: those of the calendar, and others that have bars."""
    if not len(case.bars):
        return np.zeros(0, dtype="M8[D]")
    scheduled = case.session.scheduled_dates(case.dates[0], case.dates[-1])
    return np.union1d(scheduled, case.dates[case.starts])


def spoilt(findings: Iterable[Finding], days: Dates, session: Session) -> Floats:
    """Return how much of each session warnings spoil, 0 … 1 (S,): the most of any of them.

    days   of the sessions, rising
    """
    closes, worst = session.nominal_close(days), np.zeros(days.size)
    for each in findings:
        if each.severity == "warning":
            about = touched(each, days, closes)
            worst[about] = np.maximum(worst[about], WEIGHTS.get(each.kind, 1.0))
    return worst


def touched(finding: Finding, days: Dates, closes: Stamps) -> Flags:
    """Return which sessions a finding is about, bool (S,): by its places, else by its year, else all."""
    if not finding.spans or finding.kind in _WHOLE:
        years = days.astype("M8[Y]").astype(str)
        return years == finding.where if finding.where.isdigit() else np.ones(days.size, dtype=np.bool_)
    ends = np.array(finding.spans, dtype=np.int64)
    first = np.searchsorted(closes, ends[:, 0], side="right")
    last = np.searchsorted(closes, ends[:, 1], side="left") + (finding.kind not in _EXCLUSIVE)
    marks = np.zeros(days.size + 1, dtype=np.int64)
    np.add.at(marks, np.minimum(first, days.size), 1)
    np.add.at(marks, np.clip(np.maximum(last, first + 1), 0, days.size), -1)
    return np.asarray(np.cumsum(marks[:-1]) > 0)
