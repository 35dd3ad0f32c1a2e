"""What the features of a lane's model say, session by session: drift, broken units, probabilities, regime.

A session is looked at once it is over. What a look leaves behind is a plain value, so that the next run goes
on where this one stopped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lockstep.market.bars import Bars
from lockstep.market.continuous import levels
from lockstep.market.history import Market
from lockstep.metrics import Floats
from lockstep.metrics.arrays import Dates
from lockstep.monitoring.alerts import Severity
from lockstep.monitoring.drift import INVESTIGATION, QUIET, WARNING, WATCH, DriftVerdict, DriftWatch
from lockstep.monitoring.drift_baseline import DriftBaseline
from lockstep.monitoring.feature_history import FeatureHistory
from lockstep.monitoring.ranges import RangeCheck
from lockstep.monitoring.regimes import NAMES, UNKNOWN, RegimeReference, RegimeWatch, regime_trigger
from operations.watch.join import LaneSession
from operations.watch.streams import runbook

FEATURES, PROBABILITIES, RANGES, REGIME, DECAY = "features", "probabilities", "ranges", "regime", "decay"
_SEVERITIES: Mapping[str, Severity] = {
    WARNING: "warning", INVESTIGATION: "investigation", WATCH: "notice",
}  # fmt: skip
_PAGES = {
    FEATURES: "drift",
    PROBABILITIES: "prediction-distribution",
    REGIME: "regime",
    RANGES: "broken-feature",
}


@dataclass(frozen=True, kw_only=True)
class DriftRow:
    """What one look at a session said; see the table `drift`. severity: empty while nothing is wrong.

    since   ISO date, empty for none; years: of history that it was compared with, 0: no rate
    """

    lane: str
    kind: str
    session: str
    bundle: str
    verdict: str
    since: str = ""
    years: int = 0
    score: float = math.nan
    highest: float = math.nan
    feature: str = ""
    what: str = ""
    sentence: str = ""
    severity: str = ""


class FeatureWatch:
    """Looks at the sessions of one lane while one bundle trades it.

    history   frozen values of its features, or of its probabilities where these are missing as a rule
    state     what `state` returned in an earlier run; None: begin

    A session that does not come after the history is passed over: it is part of what it would be compared
    with.
    """

    def __init__(
        self, lane: str, bundle: str, history: FeatureHistory, *, state: Mapping[str, Any] | None = None
    ) -> None:
        self._lane, self._bundle, self._history = lane, bundle, history
        self._kind = PROBABILITIES if history.gaps else FEATURES
        self.drift = DriftWatch(DriftBaseline.of(history))
        self.ranges = None if history.gaps else RangeCheck(history)
        self.last = str(history.sessions[-1])
        self.verdict: DriftVerdict | None = None
        if state is not None:
            self._resume(state)

    def look(self, session: str, values: Floats) -> Iterator[DriftRow]:
        """Take a session's values, float64 (ids,), NaN for none; yield what there is to say."""
        if session <= self.last:
            return
        day = np.datetime64(session)
        self.last, self.verdict = session, self.drift.observe(day, values)
        yield self._row(session, self.verdict)
        if self.ranges is not None:
            yield from self._broken(session, values, self.ranges)

    def _broken(self, session: str, values: Floats, check: RangeCheck) -> Iterator[DriftRow]:
        before = check.broken
        found = check.observe(np.datetime64(session), values)
        for name in before:
            if name not in check.broken:
                yield DriftRow(
                    lane=self._lane, kind=f"{RANGES} {name}", session=session, bundle=self._bundle,
                    verdict="possible again", feature=name,
                    sentence=f"{self._lane}: {name} is possible again",
                )  # fmt: skip
        for broken in found:
            yield DriftRow(
                lane=self._lane, kind=f"{RANGES} {broken.feature}", session=session, bundle=self._bundle,
                verdict="broken", since=str(broken.since), score=broken.value, feature=broken.feature,
                sentence=f"{self._lane}: {broken.sentence}. {runbook(_PAGES[RANGES])}", severity="alert",
            )  # fmt: skip

    def _row(self, session: str, found: DriftVerdict) -> DriftRow:
        severity = _SEVERITIES.get(found.verdict, "")
        page = f". {runbook(_PAGES[self._kind])}" if severity else ""
        subject = "" if self._kind == FEATURES else " probabilities"
        return DriftRow(
            lane=self._lane, kind=self._kind, session=session, bundle=self._bundle, verdict=found.verdict,
            since=str(found.since or ""), years=found.years, score=found.score, highest=found.highest,
            feature=found.feature, what=found.what, severity=severity,
            sentence=f"{self._lane}{subject}: {found.sentence}{page}",
        )  # fmt: skip

    @property
    def state(self) -> dict[str, Any]:
        """Return what the next run needs, as plain JSON."""
        running = None
        if self.ranges is not None:
            running = self.ranges.state
        return {"last": self.last, "drift": self.drift.state, "ranges": running}

    def readings(self) -> list[dict[str, Any]]:
        """Return the table of features after the last session, as plain JSON; empty before the first."""
        if self.verdict is None:
            return []
        return [{**asdict(each), "note": each.note} for each in self.verdict.readings]

    def _resume(self, state: Mapping[str, Any]) -> None:
        self.last = str(state["last"])
        self.drift.resume(state["drift"])
        if self.ranges is not None:
            self.ranges.resume(state["ranges"])


def vector(session: LaneSession) -> Floats:
    """Return the values of a session's last decision, float64 (ids,); infinite ones are missing."""
    values = np.frombuffer(session.vector, dtype="<f8").astype(np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def session_returns(bars: Bars, market: Market) -> tuple[Dates, Floats]:
    """Return session dates, datetime64[D] (n,), and the change of their closes as a share, float64 (n,).

    The first is NaN, and so is one after a close of 0.
    """
    days = market.session.dates(bars.end, bars.timeframe).astype("datetime64[D]")
    last = np.flatnonzero(np.append(days[1:] != days[:-1], True)) if days.size else np.empty(0, np.intp)
    closes = bars.close[last]
    moves = np.diff(levels(bars).close[last])
    change = np.full(closes.size, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        change[1:] = np.where(closes[:-1] != 0.0, moves / np.abs(closes[:-1]), np.nan)
    return days[last], change


def regimes(
    lane: str, bundle: str, reference: RegimeReference, dates: Dates, returns: Floats, sessions: Sequence[str]
) -> Iterator[DriftRow]:
    """Yield the regime after each of the `sessions`, ISO dates that rise, with its trigger for a retraining.

    dates, returns   of the traded series from its first settled bar on; see `session_returns`
    """
    wanted = set(sessions)
    watch = RegimeWatch(reference.volatility, reference.settings)
    began = ""
    for day, value in zip(np.datetime_as_string(dates).tolist(), returns.tolist(), strict=True):
        if not sessions or day > sessions[-1]:
            return
        watch.observe(value)
        began = day if watch.lasted == 1 else began
        if day not in wanted:
            continue
        name = "not known yet" if watch.code == UNKNOWN else NAMES[watch.code]
        trigger = regime_trigger(watch, reference)
        yield DriftRow(
            lane=lane, kind=REGIME, session=day, bundle=bundle, verdict=name, since=began,
            score=watch.turbulence, severity="warning" if trigger else "",
            sentence=f"{lane}: {trigger}. {runbook(_PAGES[REGIME])}" if trigger else f"{lane}: {name}",
        )  # fmt: skip


def month_ends(sessions: Iterable[str]) -> list[int]:
    """Return the places of sessions that are the last of their calendar month, the running month left out.

    >>> month_ends(["2020-01-30", "2020-01-31", "2020-02-03"])
    [1]
    """
    days = list(sessions)
    return [place for place in range(len(days) - 1) if days[place][:7] != days[place + 1][:7]]


def is_quiet(row: DriftRow) -> bool:
    """Whether there is nothing to tell anybody."""
    return row.severity == "" or row.verdict == QUIET
