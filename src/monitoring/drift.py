"""Drift of a desk's features: one warning stream with a stated false rate, and a rank for each feature.

Autocorrelated features wander, so that no table of critical values fits a window of 60 sessions. What history
can say is how its own years look: the largest Kolmogorov-Smirnov distance of the running year is compared
with that of each year of history against *the rest of history*. Where nothing changed, years are
interchangeable, and the running one is the furthest of Y + 1 with a probability of 1 / (Y + 1), however
autocorrelated features are and however they depend on one another. (The rank argument is that of permutation
tests: Lehmann and Romano, Testing Statistical Hypotheses, 4th ed. (2022), section 17.2.)
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from lockstep.errors import DataError
from lockstep.metrics.arrays import Floats
from lockstep.monitoring.distances import psi
from lockstep.monitoring.drift_baseline import FEWEST_YEARS, LEVEL, MISSING, DriftBaseline, at_the_end, scores
from lockstep.monitoring.feature_history import day_of

QUIET, NO_RATE, WATCH, WARNING, INVESTIGATION = (
    "no drift found", "no rate", "watch", "warning", "investigation",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DriftReading:
    """One line of the table: a feature, seen one way.

    feature    its id; what: `level`, `innovations` (of slow features) or `missing` (share of missing values)
    distance   of the last 60 sessions: KS, or the share of missing values; [0, 1], NaN: too few values
    psi        of the same values, shown only; NaN for `missing`
    peak       largest distance of the running year; NaN before there is one
    rank       of the peak among the running year and those of history, 1 the largest, ties by midranks
    years      of history that it is compared with; the rate of rank 1 is 1 / (years + 1)
    score      the peak in deviations of the other years, NaN: none; streamed: whether it is in the stream
    wanders    whether it is the level of a slow feature, whose rank has no stated rate
    """

    feature: str
    what: str
    distance: float
    psi: float
    peak: float
    rank: float
    years: int
    score: float
    streamed: bool
    wanders: bool

    @property
    def first(self) -> bool:
        """Whether the running year is further off than every year of history."""
        return self.years > 0 and self.rank == 1.0

    @property
    def note(self) -> str:
        """Return what there is to say besides the numbers, often nothing."""
        if not self.years:
            return "less than two years of history: no rank; freeze a reference when there are more"
        if self.wanders:
            return "slow: its level is ranked without a stated rate; its innovations are judged"
        if not self.streamed:
            first = f"watch: furthest of {self.years + 1} years, rate 1 in {self.years + 1}; "
            return f"{first if self.first else ''}not in the stream"
        return "too few values in the last sessions" if math.isnan(self.distance) else ""


@dataclass(frozen=True, kw_only=True)
class DriftVerdict:
    """What drift there is after a session.

    verdict    `no drift found`; `warning`, for probabilities of signals `investigation`, where the running
               year's largest score exceeds that of every year of history; `watch`, the same below nine years;
               `no rate` below two
    session    the last one seen; since: the first of the running year whose score was as large, or None
    years      Y of the stream; score: the running year's largest, NaN: none yet; highest: that of history
    feature, what   that has the largest score
    readings   one for each feature and way to see it, in the order of the history's ids
    """

    verdict: str
    session: date
    since: date | None
    years: int
    score: float
    highest: float
    feature: str
    what: str
    readings: tuple[DriftReading, ...]

    @property
    def watches(self) -> tuple[DriftReading, ...]:
        """Features with too short a history for the stream that are first of their own years; see `note`."""
        return tuple(each for each in self.readings if each.first and not each.streamed and not each.wanders)

    @property
    def rate(self) -> float:
        """The probability that a year without any drift is first; NaN without years to compare with."""
        return 1.0 / (self.years + 1) if self.years else math.nan

    @property
    def sentence(self) -> str:
        """What, since when, at what false rate, what to do."""
        if self.verdict == NO_RATE:
            return (
                "drift: no rate can be stated below two years of history; distances are shown, and the range "
                "check works; freeze a longer history at the next validation"
            )
        rate = f"rate 1 in {self.years + 1} years without drift"
        if self.since is None:
            return f"drift: no drift found up to {self.session} ({rate}); nothing to do"
        fewer = f"; below {FEWEST_YEARS} years of history it is no warning" if self.verdict == WATCH else ""
        return (
            f"drift, {self.verdict}: {self.feature} ({self.what}) is further from the reference than any "
            f"feature in {self.years} years, since {self.since} ({rate}{fewer}); look at its chart, then "
            "train a challenger"
        )


class DriftWatch:
    """Looks at one session after the other; what it says depends on the baseline and on the sessions alone.

    >>> days = np.arange("2010-01-01", "2020-01-01", dtype="datetime64[D]")
    >>> days = days[np.is_busday(days)]
    >>> noise = np.random.default_rng(1).standard_normal((days.size, 1))
    >>> from lockstep.monitoring.feature_history import FeatureHistory
    >>> history = FeatureHistory(ids=("x",), sessions=days, values=noise, low=[-np.inf], high=[np.inf])
    >>> watch = DriftWatch(DriftBaseline.of(history))
    >>> for day in range(30):
    ...     seen = watch.observe(days[-1] + 1 + day, [3.0])
    >>> seen.verdict, seen.years, round(seen.rate, 3), str(seen.since)
    ('warning', 10, 0.091, '2020-01-16')
    """

    def __init__(self, baseline: DriftBaseline) -> None:
        self.baseline = baseline
        history, settings = baseline.history, baseline.settings
        self._rows: deque[Floats] = deque(history.values[-settings.window :], settings.window + 1)
        self._after: date = history.sessions[-1].item()
        self._seen = 0
        self._begin_year()

    def _begin_year(self) -> None:
        self._peaks = np.full(len(self.baseline.columns), math.nan)
        self._since: date | None = None

    def observe(self, session: Any, values: Any) -> DriftVerdict:
        """Take a session's values, float64 (ids,), NaN where there is none; return the verdict.

        A running year has 252 sessions from the end of the history; then the next begins. DataError for
        values that do not fit the history, or a session that does not come after the last.
        """
        row = self.baseline.history.row(session, values, self._after)
        if self._seen and self._seen % self.baseline.settings.year == 0:
            self._begin_year()
        self._rows.append(row)
        self._after, self._seen = day_of(session), self._seen + 1
        distances = at_the_end(self.baseline, np.array(self._rows))
        self._peaks = np.fmax(self._peaks, distances)
        return self._verdict(distances)

    @property
    def state(self) -> dict[str, Any]:
        """What a watch on the same baseline needs to go on from here, as plain JSON; see `resume`."""
        rows = [[None if math.isnan(x) else x for x in row.tolist()] for row in self._rows]
        return {
            "rows": rows,
            "peaks": [None if math.isnan(x) else x for x in self._peaks.tolist()],
            "since": None if self._since is None else self._since.isoformat(),
            "after": self._after.isoformat(),
            "seen": self._seen,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from the `state` of another watch on the same baseline, as if its sessions had come here.

        DataError where it is of other features.
        """
        peaks = np.array(state["peaks"], dtype=np.float64)
        if peaks.shape != self._peaks.shape:
            raise DataError(
                f"drift: a state of {peaks.size} columns for a baseline of {self._peaks.size}; observe the "
                "sessions again"
            )
        self._rows = deque((np.array(row, dtype=np.float64) for row in state["rows"]), self._rows.maxlen)
        self._peaks = peaks
        self._since = None if state["since"] is None else date.fromisoformat(state["since"])
        self._after, self._seen = date.fromisoformat(state["after"]), int(state["seen"])

    def _verdict(self, distances: Floats) -> DriftVerdict:
        baseline = self.baseline
        own = scores(baseline, self._peaks)
        inside = np.where(np.isnan(own), -math.inf, own)
        worst = int(np.argmax(inside))
        score = float(inside[worst]) if inside[worst] > -math.inf else math.nan
        exceeded = bool(score > baseline.highest)
        if exceeded and self._since is None:
            self._since = self._after
        column = baseline.columns[worst]
        return DriftVerdict(
            verdict=self._name(exceeded),
            session=self._after,
            since=self._since,
            years=baseline.years,
            score=score,
            highest=baseline.highest,
            feature=column.feature,
            what=column.what,
            readings=self._readings(distances, own),
        )

    def _name(self, exceeded: bool) -> str:
        if not self.baseline.years:
            return NO_RATE
        if not exceeded:
            return QUIET
        if self.baseline.years < FEWEST_YEARS:
            return WATCH
        return INVESTIGATION if self.baseline.history.gaps else WARNING

    def _readings(self, distances: Floats, own: Floats) -> tuple[DriftReading, ...]:
        baseline = self.baseline
        values = baseline.values(np.array(self._rows))[1:]
        return tuple(
            DriftReading(
                feature=column.feature,
                what=column.what,
                distance=float(distances[place]),
                psi=math.nan if column.what == MISSING else psi(values[:, place], column.reference),
                peak=float(self._peaks[place]),
                rank=column.rank(float(self._peaks[place])),
                years=column.peaks.size,
                score=float(own[place]),
                streamed=baseline.streamed(column),
                wanders=column.slow and column.what == LEVEL,
            )
            for place, column in enumerate(baseline.columns)
        )
