"""Spikes and jumps: found, attributed, and not mistaken for a wild market."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lockstep.market.bars import Bars
from lockstep.market.quality import assess
from lockstep.market.quality.case import QualityCase
from lockstep.market.quality.finding import Finding
from lockstep.market.timeframe import DAILY
from support.markets import CME, HOURLY, NYSE, random_bars

DAYS = NYSE.scheduled_dates(np.datetime64("2016-01-01"), np.datetime64("2018-12-31"))
PRICES = ("open", "high", "low", "close")


def walk(scale: float = 1.0, seed: int = 3) -> Bars:
    """Return daily bars of an ETF around 100 whose ranges are about two per cent times `scale`."""
    draw = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(draw.normal(scale=0.01 * scale, size=DAYS.size)))
    opens = np.concatenate([close[:1], close[:-1]]) * np.exp(draw.normal(scale=0.003 * scale, size=DAYS.size))
    high = np.maximum(opens, close) * (1 + 0.005 * scale)
    low = np.minimum(opens, close) * (1 - 0.005 * scale)
    volume = np.ones(DAYS.size)
    return Bars(symbol="SPY", timeframe=DAILY, end=NYSE.nominal_close(DAYS), open=opens, high=high, low=low,
                close=close, volume=volume)  # fmt: skip


def scaled(bars: Bars, first: int, factor: float) -> Bars:
    by = np.where(np.arange(len(bars)) >= first, factor, 1.0)
    return replace(bars, **{name: getattr(bars, name) * by for name in PRICES})


def only(bars: Bars, kind: str) -> Finding:
    (finding,) = assess(bars, NYSE).findings
    assert finding.kind == kind
    return finding


def test_a_quiet_and_a_wild_market_have_no_findings() -> None:
    assert assess(walk(), NYSE).findings == ()
    assert assess(walk(4.0), NYSE).findings == ()
    calm, wild = walk(), walk(8.0)
    change = scaled(wild, 0, calm.close[399] / wild.close[399])
    both = {name: np.concatenate([getattr(calm, name)[:400], getattr(change, name)[400:]]) for name in PRICES}
    assert assess(replace(calm, **both), NYSE).findings == (), (
        "nor has one that changes from one to the other"
    )


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (0.5, "looks like a split of 2"),
        (1 / 3, "looks like a split of 3"),
        (2 / 3, "looks like a split of 1.5"),
        (0.05, "looks like a split of 20"),
        (10.16, "looks like a reverse split of 10"),
        (0.78, "unexplained; a special dividend would look like it"),
        (1.3, "+30"),
    ],
)
def test_a_jump_is_attributed(factor: float, said: str) -> None:
    bars = scaled(walk(), 500, factor)
    finding = only(bars, "jump")
    assert said in finding.sentence
    assert (finding.count, finding.where) == (1, str(DAYS[500]))
    assert finding.spans == ((int(bars.end[499]), int(bars.end[500])),)


def test_the_change_over_missing_sessions_is_said_to_be_one() -> None:
    whole = scaled(walk(), 500, 1.4)
    keep = (np.arange(len(whole)) < 450) | (np.arange(len(whole)) >= 500)
    bars = replace(whole, end=whole.end[keep], **{name: each[keep] for name, each in whole.columns().items()})
    (jump,) = assess(bars, NYSE).of_kind("jump")
    assert "days without bars" in jump.sentence


def test_the_yardstick_is_local() -> None:
    """One sigma of points over all history is blind where prices were low, and cries where they are high."""
    grown = walk()
    trend = np.exp(np.linspace(0, np.log(40), len(grown)))
    grown = replace(grown, **{name: getattr(grown, name) * trend for name in PRICES})
    assert assess(grown, NYSE).findings == ()
    early = scaled(grown, 50, 1.2)
    assert only(early, "jump").where == str(DAYS[50])


@pytest.mark.parametrize("low", [0.0, 1.0, 50.0])
def test_a_low_that_reverts_is_impossible(low: float) -> None:
    bars = walk()
    lows = bars.low.copy()
    lows[[200, 600]] = low
    finding = only(replace(bars, low=lows), "spike")
    assert finding.count == 2
    assert f"{DAYS[200]} (low {low:g}" in finding.sentence
    ibs = (bars.close[200] - low) / (bars.high[200] - low)
    assert ibs > 0.9, "what it would have told the strategy"


def test_a_high_and_a_close_that_revert_are_impossible() -> None:
    bars = walk()
    high = bars.high.copy()
    high[100] *= 1.5
    assert only(replace(bars, high=high), "spike").where == str(DAYS[100])
    one = np.where(np.arange(len(bars)) == 300, 1.4, 1.0)
    spike = only(replace(bars, **{name: getattr(bars, name) * one for name in PRICES}), "spike")
    assert (spike.where, spike.count) == (str(DAYS[300]), 1), "there and back is one spike, not two jumps"


def test_a_crash_is_no_fault() -> None:
    """A fall of six daily ranges, more than any in ten years of index futures."""
    assert assess(scaled(walk(), 500, 0.9), NYSE).findings == ()


def test_adjusted_and_negative_prices_are_measured_in_points() -> None:
    bars = walk()
    below = {name: getattr(bars, name) - 120.0 for name in PRICES}
    assert assess(replace(bars, adjustment="difference", **below), NYSE).findings == ()
    below["low"] = below["low"].copy()
    below["low"][100] -= 40.0
    assert only(replace(bars, adjustment="difference", **below), "spike").where == str(DAYS[100])
    # A low of 0 is an ordinary price there.
    assert assess(replace(bars, adjustment="difference", **{n: v + 20 for n, v in below.items()}), NYSE)


def test_futures_do_not_split() -> None:
    days = CME.scheduled_dates(np.datetime64("2016-01-01"), np.datetime64("2018-12-31"))
    bars = scaled(replace(walk(), end=walk().end), 500, 0.5)
    bars = replace(bars, symbol="ES", end=CME.nominal_close(days)[: len(bars)])
    (jump,) = assess(bars, CME).of_kind("jump")
    assert "at an open: a roll, or unexplained" in jump.sentence


def test_an_hour_is_measured_by_the_days_around_it() -> None:
    hours = np.arange(1, 8) * HOURLY.nanoseconds
    opens = np.array([day.open for day in NYSE.days(DAYS[:120])]) - HOURLY.nanoseconds // 2
    bars = random_bars((opens[:, None] + hours).ravel(), HOURLY)
    bars = replace(bars, **{name: getattr(bars, name) + 500.0 for name in PRICES})
    assert {each.kind for each in assess(bars, NYSE).findings} <= {"outside"}
    jumping = replace(bars, **{name: getattr(bars, name) + np.where(np.arange(len(bars)) >= 303, 60.0, 0.0)
                               for name in PRICES})  # fmt: skip
    (jump,) = assess(jumping, NYSE).of_kind("jump")
    assert "unexplained" in jump.sentence


def test_ranges_of_still_markets_and_of_few_sessions() -> None:
    bars = walk().rows(0, 5)
    assert (QualityCase(bars=bars, session=NYSE).scale > 0).all()
    still = replace(bars, **{name: np.full(5, 7.0) for name in PRICES})
    assert QualityCase(bars=still, session=NYSE).scale.tolist() == [0.0] * 5
    assert [each.kind for each in assess(still, NYSE).findings] == ["flat"]
    assert assess(random_bars(bars.end[:2], DAILY), NYSE).of_kind("jump") == ()
