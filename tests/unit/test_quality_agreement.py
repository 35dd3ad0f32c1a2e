"""Two sources of one series: equal to the tick, later, at another level, or of something else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lockstep.errors import DataError, PoorData
from lockstep.live.config import HistorySettings
from lockstep.live.warmup import require_quality
from lockstep.market.aggregator import aggregate
from lockstep.market.bars import PRICE_COLUMNS, Bars
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_bars
from lockstep.market.quality.agreement import Agreement, agreement
from lockstep.market.timeframe import DAILY
from support.bad_data import clean
from support.markets import BOOK, CME, HOURLY, NYSE

TICK = 0.25
MINUTES = clean(20_000)


def compared(other: Bars, bars: Bars = MINUTES) -> Agreement:
    return agreement(bars, other, CME, TICK, name="theirs")


def moved(bars: Bars, by: float) -> Bars:
    return replace(bars, **{name: getattr(bars, name) + by for name in PRICE_COLUMNS})


def test_equal_bars_agree_on_what_both_have() -> None:
    found = compared(MINUTES.rows(1_000, 19_000))
    assert (found.equal, found.equal_close, found.equal_volume) == (1.0, 1.0, 1.0)
    assert (found.common, found.only_here, found.only_there) == (18_000, 0, 0)
    assert (found.lag, found.level, found.findings) == (0, 0.0, ())
    assert found.sentence.startswith("100.00% of 18,000 common bars are equal to theirs to the tick")


def test_bars_of_one_side_are_counted() -> None:
    keep = np.ones(len(MINUTES), dtype=bool)
    keep[100:150] = False
    less = replace(
        MINUTES, end=MINUTES.end[keep], **{name: each[keep] for name, each in MINUTES.columns().items()}
    )
    assert (compared(less).only_here, compared(less).only_there) == (50, 0)
    assert (compared(MINUTES, less).only_here, compared(MINUTES, less).only_there) == (0, 50)


def test_a_close_that_differs_is_named_and_a_tenth_of_a_tick_is_not() -> None:
    close = MINUTES.close.copy()
    close[500] += 0.1
    assert compared(replace(MINUTES, close=close, high=np.maximum(MINUTES.high, close))).equal == 1.0
    close[700] += 1.0
    found = compared(replace(MINUTES, close=close, high=np.maximum(MINUTES.high, close)))
    (finding,) = found.findings
    assert (finding.count, finding.severity) == (1, "note")
    assert f"close {MINUTES.close[700]:g} and {close[700]:g}" in finding.sentence
    assert finding.spans == ((int(MINUTES.end[699]), int(MINUTES.end[700])),)


def test_many_that_differ_are_a_warning() -> None:
    draw = np.random.default_rng(2).random(len(MINUTES)) < 0.05
    close = MINUTES.close + draw
    found = compared(replace(MINUTES, close=close, high=np.maximum(MINUTES.high, close)))
    assert found.equal == pytest.approx(0.95, abs=0.01)
    assert [each.severity for each in found.findings] == ["warning"]


@pytest.mark.parametrize(
    ("minutes", "said"), [(60, "earlier"), (-60, "later"), (1, "earlier"), (-300, "later")]
)
def test_a_lag_is_found(minutes: int, said: str) -> None:
    """The other's stamps are some minutes later: another time zone, or stamps of opens instead of closes."""
    found = compared(replace(MINUTES, end=MINUTES.end + minutes * 60_000_000_000))
    assert found.lag == -minutes * 60_000_000_000
    (finding,) = found.findings
    assert finding.sentence == f"stamps are {abs(minutes)} minutes {said} than those of theirs"
    assert finding.severity == "warning"


def test_a_level_is_found() -> None:
    found = compared(moved(MINUTES, -12.5))
    assert (found.level, found.lag, found.equal) == (12.5, 0, 0.0)
    assert "prices are +12.5 points from those of theirs" in found.findings[0].sentence


def test_what_cannot_be_compared_is_one_line() -> None:
    for other, said in (
        (
            aggregate(MINUTES, HOURLY, CME),
            "theirs: has bars of 1h, and made minutes of 1min; give --timeframe",
        ),
        (replace(MINUTES, end=MINUTES.end + 10**18), "theirs: has 0 bars in the time that both cover"),
    ):
        with pytest.raises(DataError, match=said):
            compared(other)


def test_the_shared_hours_of_spy_are_its_days_and_another_zone_is_not(shared_data: Path) -> None:
    folder = shared_data / "equity_hourly"
    days = load_bars("SPY", folder, timeframe=DAILY)
    made = aggregate(load_bars("SPY", folder, timeframe=HOURLY), DAILY, NYSE)
    found = agreement(days, made, NYSE, 0.01, name="equity_hourly")
    assert (found.equal, found.equal_volume, found.common, found.only_here) == (1.0, 1.0, 5_849, 0)


class TestRequiredQuality:
    """What a desk asks of the files that it begins with."""

    def history(self, bars: Bars) -> History:
        return History(bars={SeriesKey("ES", bars.timeframe): bars}, markets={"ES": BOOK.market("ES")})

    def test_a_series_below_it_is_refused_by_name(self) -> None:
        low = MINUTES.low.copy()
        low[5_000] /= 2
        poor = self.history(replace(MINUTES, low=low))
        require_quality(poor, None)
        require_quality(poor, 90.0)
        require_quality(self.history(MINUTES), 100.0)
        with pytest.raises(
            PoorData, match=r"ES 1min: quality 9\d\.\d\d, below min_quality 100: spike: 1 bar"
        ):
            require_quality(poor, 100.0)

    @pytest.mark.parametrize("least", [-1, 101, float("nan")])
    def test_a_score_is_between_0_and_100(self, least: float) -> None:
        with pytest.raises(ValueError, match="min_quality"):
            HistorySettings(min_quality=least)
