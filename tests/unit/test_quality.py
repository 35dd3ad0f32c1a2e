from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lockstep.market.aggregator import aggregate
from lockstep.market.bars import Bars
from lockstep.market.quality import QualityReport, assess
from lockstep.market.quality.repeats import by_chance
from lockstep.market.timeframe import DAILY
from support.markets import CME, ONE_MINUTE, minutes, random_bars

YEAR = CME.scheduled_dates(np.datetime64("2017-01-01"), np.datetime64("2018-12-31"))


def daily(dates: np.ndarray = YEAR, seed: int = 7) -> Bars:  # type: ignore[type-arg]
    return random_bars(CME.nominal_close(dates), DAILY, seed=seed)


def with_opens_at_the_close(bars: Bars, rows: np.ndarray) -> Bars:  # type: ignore[type-arg]
    """Return bars whose opens in `rows` are the previous closes."""
    opens = bars.open.copy()
    opens[rows] = bars.close[rows - 1]
    high, low = np.maximum(bars.high, opens), np.minimum(bars.low, opens)
    return replace(bars, open=opens, high=high, low=low)


def kinds(report: QualityReport) -> set[str]:
    return {finding.kind for finding in report.findings}


def test_good_bars_have_no_findings() -> None:
    report = assess(daily(), CME)
    assert report.findings == ()
    assert (report.stale_open_share, report.bars, report.timeframe) == (0.0, len(YEAR), "1d")
    assert (report.first, report.last) == (str(YEAR[0]), str(YEAR[-1]))


# PARITY 32: its mutant is a series whose opens are the previous closes.
def test_opens_at_the_previous_close_are_reported_by_year() -> None:
    stale = with_opens_at_the_close(daily(), np.arange(1, 259))
    report = assess(stale, CME)
    assert [finding.where for finding in report.of_kind("stale_open")] == ["all", "2017"]
    assert report.stale_open_share == pytest.approx(258 / (len(YEAR) - 1))
    assert "100% of the opens of 2017" in report.of_kind("stale_open")[1].sentence


def test_a_fifth_of_stale_opens_is_not_yet_too_many() -> None:
    few = with_opens_at_the_close(daily(), np.arange(5, len(YEAR), 5))
    assert "stale_open" not in kinds(assess(few, CME))


def test_within_a_session_an_open_at_the_last_close_is_normal() -> None:
    bars = random_bars(minutes("2024-01-03 18:01", "2024-01-04 17:00"), ONE_MINUTE)
    report = assess(with_opens_at_the_close(bars, np.arange(1, len(bars))), CME)
    assert kinds(report) == set()
    assert np.isnan(report.stale_open_share)


def in_ticks(tick: float, spread: float) -> Bars:
    """Return daily bars whose opening gaps are normal in whole ticks."""
    bars = daily()
    gaps = np.round(np.random.default_rng(5).normal(scale=spread, size=len(bars))) * tick
    close = np.round(bars.close / tick) * tick
    opens = np.concatenate([close[:1], close[:-1] + gaps[1:]])
    high, low = np.maximum(opens, close) + tick, np.minimum(opens, close) - tick
    return replace(bars, open=opens, close=close, high=high, low=low)


def test_opens_that_chance_puts_on_the_previous_close_are_no_fault() -> None:
    """Where a usual gap is a tick or two, a fifth of the opens and more are at the close."""
    coarse = in_ticks(0.25, 1.2)
    assert assess(coarse, CME).stale_open_share > 0.25
    assert "stale_open" not in kinds(assess(coarse, CME))
    stale = with_opens_at_the_close(coarse, np.arange(1, len(coarse), 3))
    assert "stale_open" in kinds(assess(stale, CME)), "but more than chance puts there are"


def test_as_many_gaps_of_no_tick_as_of_one_are_chance() -> None:
    assert by_chance(np.array([0.0, 0.25, -0.25, 0.25, -0.25, 0.5]), 0.25) == 2.0
    assert by_chance(np.zeros(3), 0.0) == 0.0


def test_a_handful_of_opens_is_no_sample() -> None:
    few = daily(YEAR[:20])
    assert "stale_open" not in kinds(assess(with_opens_at_the_close(few, np.arange(1, 20)), CME))


def test_minutes_may_stand_still_but_not_for_hours() -> None:
    bars = random_bars(minutes("2024-01-03 18:01", "2024-01-04 17:00"), ONE_MINUTE)

    def still(count: int) -> Bars:
        close = bars.close.copy()
        close[100 : 100 + count] = close[100]
        high, low = np.maximum(bars.high, close), np.minimum(bars.low, close)
        return replace(bars, close=close, high=high, low=low)

    assert "flat" not in kinds(assess(still(100), CME))
    (finding,) = assess(still(200), CME).of_kind("flat")
    assert "the longest 200 bars from 2024-01-04" in finding.sentence
    assert finding.spans == ((int(bars.end[100]), int(bars.end[299])),)


def test_flat_stretches() -> None:
    bars = daily()
    close = bars.close.copy()
    close[10:15] = close[10]
    close[20:24] = close[20]
    bars = replace(bars, close=close, high=np.maximum(bars.high, close), low=np.minimum(bars.low, close))
    (finding,) = assess(bars, CME).of_kind("flat")
    assert (finding.count, finding.where) == (1, str(YEAR[10]))
    assert "longest 5 bars" in finding.sentence


def test_missing_volume() -> None:
    bars = daily()
    assert kinds(assess(replace(bars, volume=np.zeros(len(bars))), CME)) == {"no_volume"}


def test_no_bars_and_one_bar() -> None:
    empty = daily().rows(0, 0)
    assert assess(empty, CME).findings == ()
    assert assess(daily().rows(0, 1), CME).findings == ()


def test_aggregated_bars_have_no_gaps_of_their_own() -> None:
    minute = random_bars(minutes("2024-01-03 18:01", "2024-01-05 17:00"), ONE_MINUTE)
    assert "missing_session" not in kinds(assess(aggregate(minute, DAILY, CME), CME))
