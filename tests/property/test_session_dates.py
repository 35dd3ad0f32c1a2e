"""The compiled session arithmetic against the obvious one, session by session."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from lockstep.errors import ConfigError
from lockstep.market.sessions import Session
from lockstep.market.timeframe import Timeframe
from support.markets import CME, CRYPTO, GRAINS, HOURLY, MINUTE, NYSE, local

SESSIONS = st.sampled_from([CME, NYSE, CRYPTO, GRAINS])
# 2016 to 2021 in minutes, and how far a bucket may be counted.
STAMPS = st.integers(24_192_000, 27_000_000).map(lambda minute: minute * MINUTE)
FRAMES = st.sampled_from([Timeframe.parse(text) for text in ("1min", "15min", "1h", "4h", "1d")])

DATES = {
    session: session.scheduled_dates(np.datetime64("2015-06-01"), np.datetime64("2022-06-01"))
    for session in (CME, NYSE, CRYPTO, GRAINS)
}


@pytest.mark.uncompiled
@settings(max_examples=150, deadline=None)
@given(SESSIONS, STAMPS)
def test_the_date_is_that_of_the_first_nominal_close_not_before_the_end(session: Session, end: int) -> None:
    closes = zip(session.nominal_close(DATES[session]).tolist(), DATES[session], strict=True)
    expected = next(date for close, date in closes if close >= end)
    assert session.dates(np.array([end]))[0] == expected


@settings(max_examples=150, deadline=None)
@given(SESSIONS, st.lists(st.tuples(STAMPS, st.sampled_from(["", "close", "after close"])), min_size=2))
def test_the_remembered_session_is_the_one_that_a_bar_belongs_to(
    session: Session, asked: list[tuple[int, str]]
) -> None:
    """Whatever was asked before, on the nominal close and a nanosecond after it too."""
    for stamp, where in asked:
        boundary = int(session.nominal_close(session.dates(np.array([stamp])))[0])
        end = {"": stamp, "close": boundary, "after close": boundary + 1}[where]
        at, day = np.array([end]), session.day(end)
        assert np.datetime64(day.date, "D") == session.dates(at)[0]
        assert (day.open, day.close) == (session.scheduled_open(at)[0], session.scheduled_close(at)[0])
        assert day.nominal_close == session.nominal_close(session.dates(at))[0]
        assert session.dates(np.array([day.after]))[0] < session.dates(at)[0]


@settings(max_examples=150, deadline=None)
@given(SESSIONS, STAMPS, FRAMES, st.sampled_from(["left", "right"]))
def test_a_stamp_lies_in_its_bucket(session: Session, stamp: int, timeframe: Timeframe, closed: str) -> None:
    at = np.array([stamp])
    end = int(session.bucket_end(at, timeframe, closed=closed)[0])  # type: ignore[arg-type]
    assert stamp <= end if closed == "right" else stamp < end
    if not timeframe.is_session:
        assert end - stamp <= timeframe.nanoseconds
    again = session.bucket_end(np.array([end]), timeframe, closed="right")
    assert int(again[0]) == end, "the end of a bucket belongs to it"
    assert session.dates(np.array([end]))[0] == session.dates(at + (closed == "left"))[0]


@settings(max_examples=100, deadline=None)
@given(SESSIONS, STAMPS)
def test_the_hour_is_the_wall_clock(session: Session, end: int) -> None:
    hour = session.columns(np.array([end]), HOURLY)["hour"][0]
    assert f"{int(hour):02}" == local(np.array([end]), session.template.timezone)[0][11:13]


@settings(max_examples=100, deadline=None)
@given(
    SESSIONS,
    STAMPS,
    FRAMES.filter(lambda frame: not frame.is_session),
    st.integers(0, 23),
    st.integers(0, 59),
)
def test_auto_close_leaves_a_bar_to_fill_in(
    session: Session, stamp: int, timeframe: Timeframe, hour: int, minute: int
) -> None:
    """The decision bar by counting all scheduled bars of the session."""
    cut_off = f"{hour:02}:{minute:02}"
    at = np.array([stamp])
    opens, closes = int(session.scheduled_open(at)[0]), int(session.scheduled_close(at)[0])
    try:
        limit = session.minute_of(cut_off)
    except ConfigError:
        reject()
    midnight = int(session.nominal_close(session.dates(at))[0]) - session.template.roll_minute * MINUTE
    moment = midnight + (session.template.open_minute + int(limit)) * MINUTE
    inside = np.arange(opens + MINUTE, closes + 1, MINUTE)
    inside = inside[session.in_session(inside, Timeframe.parse("1min"))]
    scheduled = np.unique(session.bucket_end(inside, timeframe, closed="right"))
    decisions = [end for end in scheduled[:-1].tolist() if end <= moment]
    due = session.auto_close(scheduled, timeframe, cut_off)
    expected = scheduled >= decisions[-1] if decisions else np.ones(scheduled.size, dtype=bool)
    assert due.tolist() == expected.tolist()
