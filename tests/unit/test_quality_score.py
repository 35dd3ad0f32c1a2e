"""The score: a share of sessions that anybody can count, which no further warning raises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import PoorData
from lockstep.market.quality import assess
from lockstep.market.quality.finding import Finding
from lockstep.market.quality.report import WEIGHTS, spoilt, touched
from lockstep.market.timeframe import DAILY
from support.markets import CME, NYSE, random_bars

DAYS = NYSE.scheduled_dates(np.datetime64("2017-12-01"), np.datetime64("2018-01-31"))
CLOSES = NYSE.nominal_close(DAYS)
HOUR = 3_600_000_000_000


def finding(
    kind: str, *spans: tuple[int, int], where: str = "2017-12-01", severity: str = "warning"
) -> Finding:
    return Finding(kind=kind, where=where, count=1, sentence="x", spans=spans, severity=severity)  # type: ignore[arg-type]


def about(each: Finding) -> list[int]:
    return np.flatnonzero(touched(each, DAYS, CLOSES)).tolist()


def test_which_sessions_a_finding_is_about() -> None:
    close = CLOSES.tolist()
    assert about(finding("spike", (close[4] - 3 * HOUR, close[4] - 2 * HOUR))) == [4]
    assert about(finding("spike", (close[3], close[4] - 5 * HOUR))) == [4], "the first bar of a session"
    assert about(finding("hole", (close[4] - 2 * HOUR, close[6] - HOUR))) == [4, 5, 6]
    assert about(finding("missing_session", (close[4], close[7]))) == [5, 6], "the bar after it is there"
    assert about(finding("no_volume", where="all")) == list(range(len(DAYS)))
    assert (
        about(finding("stale_open", where="2018")) == np.flatnonzero(DAYS >= np.datetime64("2018")).tolist()
    )
    assert len(about(finding("scale", (close[4], close[5])))) == len(DAYS), "nobody knows which side is right"


def test_a_session_counts_once_by_the_gravest_and_notes_do_not() -> None:
    inside = (int(CLOSES[4]) - 2 * HOUR, int(CLOSES[4]) - HOUR)
    several = [finding("flat", inside), finding("spike", inside), finding("silent", inside)]
    assert spoilt(several, DAYS, NYSE).tolist() == [1.0 if row == 4 else 0.0 for row in range(len(DAYS))]
    assert spoilt(several[:1], DAYS, NYSE)[4] == WEIGHTS["flat"] == 0.5
    assert not spoilt([finding("jump", inside, severity="note")], DAYS, NYSE).any()


SPANS = st.tuples(st.integers(0, len(DAYS) - 1), st.integers(0, 5), st.integers(1, 70)).map(
    lambda each: (int(CLOSES[each[0]]) - each[1] * HOUR, int(CLOSES[each[0]]) + each[2] * HOUR)
)
FINDINGS = st.lists(
    st.builds(finding, st.sampled_from(["spike", "flat", "silent", "hole"]), SPANS), max_size=6
)


@given(FINDINGS, FINDINGS)
def test_no_warning_raises_the_score(some: list[Finding], more: list[Finding]) -> None:
    before, after = spoilt(some, DAYS, NYSE), spoilt([*more, *some], DAYS, NYSE)
    assert (after >= before).all()
    assert (after <= 1.0).all()


def test_the_score_of_a_series_is_counted_by_hand() -> None:
    days = CME.scheduled_dates(np.datetime64("2018-01-01"), np.datetime64("2018-12-31"))
    bars = random_bars(CME.nominal_close(days), DAILY)
    raised = {name: getattr(bars, name) + 2_000 for name in ("open", "high", "low", "close")}
    bars = replace(bars, **raised)
    assert (assess(bars, CME).score, assess(bars, CME).shown_score) == (100.0, "100.00")
    low = bars.low.copy()
    low[[50, 90]] = 1.0
    keep = np.ones(len(bars), dtype=bool)
    keep[[10, 11, 12]] = False
    poor = replace(bars, low=low)
    poor = replace(poor, end=poor.end[keep], **{name: each[keep] for name, each in poor.columns().items()})
    found = assess(poor, CME)
    assert found.sessions == len(days)
    assert found.score == pytest.approx(100 * (1 - 5 / len(days)))
    found.require(97.0)
    with pytest.raises(
        PoorData, match=r"ES 1d: quality 98\.\d\d, below min_quality 99: missing_session: 3 sched"
    ):
        found.require(99.0)
    assert assess(bars.rows(0, 0), CME).score == 100.0
