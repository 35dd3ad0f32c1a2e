"""A few windows of a history give the bits of the whole one: pairs, other timeframes and gaps included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lockstep.errors import UnfitBundle
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import default_registry
from lockstep.features.plan import FeaturePlan
from lockstep.market.asof import MaxAge
from lockstep.market.bars import Bars
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.models import golden
from lockstep.models import golden as excerpts
from lockstep.models.golden import excerpt
from support.markets import BOOK, CME, HOURLY, random_bars, stamps
from support.models import make_bundle

IDS = ("ibs", "pair_ret_1", "pair_corr_20", "rsi_2@1d", "zscore_20@NQ", "pair_beta_60*ret_5")
BASE = SeriesKey("ES", HOURLY)
HOUR = 3_600_000_000_000


@pytest.fixture(scope="module")
def history() -> History:
    """Half a year of hours of ES and NQ, with holes in NQ, and days of ES."""
    first = int(stamps(["2024-01-08 10:00"])[0])
    hours = first + HOUR * np.arange(1500, dtype=np.int64)
    draw = np.random.default_rng(2)
    kept = np.sort(draw.choice(1500, 1100, replace=False))
    dates = CME.scheduled_dates(np.datetime64("2022-06-01"), np.datetime64("2024-03-01"))
    series = (
        random_bars(hours, HOURLY, "ES", 1),
        random_bars(hours[kept], HOURLY, "NQ", 2),
        random_bars(CME.nominal_close(dates), DAILY, "ES", 3),
    )
    bars = {SeriesKey(each.symbol, each.timeframe): each for each in series}
    return History(bars=bars, markets={"ES": BOOK.market("ES"), "NQ": BOOK.market("NQ")})


def vectors(history: History, plan: FeaturePlan, chosen: np.ndarray) -> np.ndarray:
    batch = BatchFeatures(plan, history, max_age=MaxAge())
    return batch.matrix[np.searchsorted(batch.end, chosen)]


@pytest.mark.parametrize("seed", range(4))
def test_vectors_over_the_excerpt_are_those_over_everything(history: History, seed: int) -> None:
    plan = default_registry().plan(IDS, BASE)
    chosen = np.sort(np.random.default_rng(seed).choice(history.series(BASE).end, 5, replace=False))
    small = excerpt(history, plan, chosen)
    whole = vectors(history, plan, chosen)
    assert vectors(small, plan, chosen).tobytes() == whole.tobytes()
    assert np.isfinite(whole).any()
    assert sum(map(len, small.bars.values())) < sum(map(len, history.bars.values()))


def test_one_bar_less_is_noticed(history: History) -> None:
    plan = default_registry().plan(IDS, BASE)
    chosen = history.series(BASE).end[[900]]
    small = excerpt(history, plan, chosen)
    for key, bars in small.bars.items():
        shorter = replace(small, bars={**small.bars, key: bars.rows(1, len(bars))})
        different = vectors(shorter, plan, chosen).tobytes() != vectors(history, plan, chosen).tobytes()
        # The pair's first bar may only stand before the first bar that it is joined to.
        assert different or key == SeriesKey("NQ", HOURLY)


def test_golden_vectors_that_need_more_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = excerpts._windows

    def short(bars: Bars, chosen: np.ndarray, lookback: int) -> np.ndarray:
        return whole(bars, chosen, 1)

    monkeypatch.setattr(excerpts, "_windows", short)
    with pytest.raises(UnfitBundle, match="depends on bars outside its window"):
        make_bundle()


def test_values_of_other_shape_are_not_the_same() -> None:
    assert not golden.same_values(np.zeros(2), np.zeros(3), exact=True)
    assert golden.same_values(np.array([np.nan]), np.array([np.nan]), exact=True)
