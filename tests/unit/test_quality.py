from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lockstep.market.aggregator import aggregate
from lockstep.market.bars import Bars
from lockstep.market.quality import QualityReport, assess, robust_sigma
from lockstep.market.timeframe import DAILY
from support.markets import CME, ONE_MINUTE, minutes, random_bars, stamps

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


def test_flat_stretches() -> None:
    bars = daily()
    close = bars.close.copy()
    close[10:15] = close[10]
    close[20:24] = close[20]
    bars = replace(bars, close=close, high=np.maximum(bars.high, close), low=np.minimum(bars.low, close))
    (finding,) = assess(bars, CME).of_kind("flat")
    assert (finding.count, finding.where) == (1, str(YEAR[10]))
    assert "longest 5 bars" in finding.sentence


def test_gaps_against_the_calendar_both_ways() -> None:
    kept = np.delete(YEAR, [30, 31, 32, 33, 34, 35])
    good_friday = np.array(["2018-03-30"], dtype="M8[D]")
    report = assess(daily(np.sort(np.concatenate([kept, good_friday]))), CME)
    missing, unknown = report.of_kind("missing_session")[0], report.of_kind("unknown_session")[0]
    assert (missing.count, missing.where) == (6, str(YEAR[30]))
    assert missing.sentence.endswith("…")
    assert (unknown.count, unknown.where) == (1, "2018-03-30")


def test_bars_outside_the_session() -> None:
    bars = random_bars(stamps(["2024-01-04 16:00", "2024-01-06 12:00"]), ONE_MINUTE)
    (finding,) = assess(bars, CME).of_kind("outside")
    assert (finding.count, finding.where) == (1, "2024-01-08")


def test_missing_volume() -> None:
    bars = daily()
    assert kinds(assess(replace(bars, volume=np.zeros(len(bars))), CME)) == {"no_volume"}


def test_a_jump_of_the_close() -> None:
    bars = daily()
    step = np.where(np.arange(len(bars)) >= 100, 500.0, 0.0)
    columns = {name: getattr(bars, name) + step for name in ("open", "high", "low", "close")}
    (finding,) = assess(replace(bars, **columns), CME).of_kind("jump")
    assert (finding.count, finding.where) == (1, str(YEAR[100]))


def test_robust_sigma_of_normal_changes_is_their_standard_deviation() -> None:
    changes = np.random.default_rng(3).normal(scale=2.5, size=100_000)
    assert robust_sigma(changes) == pytest.approx(2.5, rel=0.02)
    assert robust_sigma(np.zeros(5)) == 0.0


def test_no_bars_and_one_bar() -> None:
    empty = daily().rows(0, 0)
    assert assess(empty, CME).findings == ()
    assert assess(daily().rows(0, 1), CME).findings == ()


def test_aggregated_bars_have_no_gaps_of_their_own() -> None:
    minute = random_bars(minutes("2024-01-03 18:01", "2024-01-05 17:00"), ONE_MINUTE)
    assert "missing_session" not in kinds(assess(aggregate(minute, DAILY, CME), CME))
