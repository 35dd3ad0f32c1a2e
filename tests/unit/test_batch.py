"""BatchFeatures: vectors by stamp, joins, and why a value is missing."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.errors import DataError, FeatureError
from lockstep.features.batch import BatchFeatures
from lockstep.features.canonical import canonical_bars, canonical_market
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.features.plan import COLD, MISSING
from lockstep.market.asof import MaxAge
from lockstep.market.bars import Bars
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.instrument import Instrument
from lockstep.market.timeframe import DAILY, Timeframe
from support.feature_histories import select

REGISTRY = FeatureRegistry()
HOURLY = Timeframe(60)
BASE, PAIR = SeriesKey("BASE", HOURLY), SeriesKey("PAIR", HOURLY)
BARS = canonical_bars(120, "BASE", HOURLY)
PAIR_BARS = canonical_bars(120, "PAIR", HOURLY)


def features(*ids: str, pair: Bars = PAIR_BARS, max_age: MaxAge | None = None) -> BatchFeatures:
    history = History(bars={BASE: BARS, PAIR: pair}, markets={"BASE": canonical_market()})
    return BatchFeatures(REGISTRY.plan(ids, BASE), history, max_age=max_age)


def test_vectors_are_rows_of_the_matrix() -> None:
    source = features("ibs", "zscore_20")
    for row in (0, 5, 6, 119, 3):
        np.testing.assert_array_equal(source.vector(int(BARS.end[row])), source.matrix[row])
    assert source.matrix.shape == (120, 2)


def test_vectors_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        features("ibs").vector(int(BARS.end[0]))[0] = 1.0


@pytest.mark.parametrize("offset", [1, -1])
def test_no_bar_no_vector(offset: int) -> None:
    with pytest.raises(FeatureError, match="no bar of BASE:1h ended at"):
        features("ibs").vector(int(BARS.end[-1]) + offset)


def test_why_a_value_is_missing() -> None:
    late = select(PAIR_BARS, np.arange(120) >= 60)
    source = features("zscore_20", "pair_ibs", "ibs*zscore_20", pair=late)
    assert source.absence(0, int(BARS.end[3])) == COLD
    assert source.absence(2, int(BARS.end[3])) == COLD
    assert source.absence(1, int(BARS.end[30])) == MISSING
    assert np.isnan(source.matrix[:60, 1]).all()
    assert np.isfinite(source.matrix[60:, 1]).all()


@pytest.mark.parametrize(("bars", "found"), [(0, 1), (2, 3), (4, 5)])
def test_a_pair_bar_serves_until_it_is_too_old(bars: int, found: int) -> None:
    """The pair's last bar is row 9; it is as old as `bars` hours on row 9 + bars."""
    source = features("pair_ibs", pair=PAIR_BARS.rows(0, 10), max_age=MaxAge(bars=bars, days=1))
    assert np.isfinite(source.matrix[9:, 0]).sum() == found


def test_a_daily_value_shows_only_when_the_day_is_complete() -> None:
    daily = BARS.end[np.array([23, 47, 71])]
    days = Bars(
        symbol="BASE",
        timeframe=DAILY,
        end=daily,
        open=np.array([1.0, 2.0, 3.0]),
        high=np.array([2.0, 3.0, 4.0]),
        low=np.array([0.0, 1.0, 2.0]),
        close=np.array([0.5, 2.0, 3.5]),
        volume=np.ones(3),
    )
    history = History(bars={BASE: BARS, SeriesKey("BASE", DAILY): days}, markets={})
    values = BatchFeatures(REGISTRY.plan(["ibs@1d"], BASE), history).matrix[:, 0]
    assert np.isnan(values[:23]).all()
    np.testing.assert_array_equal(values[23:47], 0.25)
    np.testing.assert_array_equal(values[47:71], 0.5)
    np.testing.assert_array_equal(values[71:], 0.75)


def test_products_multiply() -> None:
    matrix = features("ibs", "rsi_2", "ibs*rsi_2", "pair_ibs*pair_ibs").matrix
    np.testing.assert_array_equal(matrix[:, 2], matrix[:, 0] * matrix[:, 1])
    assert np.isfinite(matrix[50:]).all()


def test_a_series_that_was_not_loaded_is_named() -> None:
    history = History(bars={BASE: BARS}, markets={})
    with pytest.raises(DataError, match=r"no bars of NQ:1h: loaded are BASE:1h"):
        BatchFeatures(REGISTRY.plan(["ibs@NQ"], BASE), history)


def test_no_declared_pair() -> None:
    alone = Instrument(symbol="BASE", multiplier=1.0, tick_size=0.25, session="x")
    market = Market(instrument=alone, session=canonical_market().session)
    history = History(bars={BASE: BARS}, markets={"BASE": market})
    with pytest.raises(FeatureError, match="no pair is declared"):
        BatchFeatures(REGISTRY.plan(["pair_ibs"], BASE), history)


def test_plans_refuse_what_makes_no_sense() -> None:
    with pytest.raises(FeatureError, match="'ibs': listed twice"):
        REGISTRY.plan(["ibs", "rsi_2", "ibs"], BASE)
    with pytest.raises(FeatureError, match="15min is finer than the traded 1h"):
        REGISTRY.plan(["ibs@15min"], BASE)
    with pytest.raises(FeatureError, match="1h is finer than the traded 1d"):
        REGISTRY.plan(["ibs@1h"], SeriesKey("BASE", DAILY))


def test_a_plan_computes_each_term_once() -> None:
    plan = REGISTRY.plan(["ibs", "ibs*rsi_2", "rsi_2", "ibs@PAIR"], BASE)
    assert [str(term) for term in plan.terms] == ["ibs", "rsi_2", "ibs@PAIR"]
    assert plan.factors == ((0,), (0, 1), (1,), (2,))
    assert plan.keys == (BASE, PAIR)
    assert plan.lookback(BASE) == 41
    assert plan.inputs(BASE) == ("close", "high", "low")
    assert plan.pair_keys == ()
