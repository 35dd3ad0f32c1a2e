"""WindowFeatures: the newest vector, one bar set at a time."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.errors import FeatureError
from lockstep.features.canonical import CANONICAL_SYMBOL, canonical_bars, canonical_market
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.features.source import COLD, MISSING
from lockstep.features.streaming import WindowFeatures
from lockstep.market.history import BarSet, History, Market, SeriesKey
from lockstep.market.sessions import Session, SessionTemplate
from lockstep.market.timeframe import DAILY, Timeframe
from support.feature_checks import check_batch_equals_streaming

REGISTRY = FeatureRegistry()
HOURLY = Timeframe(60)
BASE, PAIR = SeriesKey(CANONICAL_SYMBOL, HOURLY), SeriesKey("PAIR", HOURLY)
HOUR = 3_600_000_000_000
BAR = (1.0, 3.0, 0.0, 2.0, 10.0)


def windows(*ids: str, base: SeriesKey = BASE) -> WindowFeatures:
    return WindowFeatures(REGISTRY.plan(ids, base), {CANONICAL_SYMBOL: canonical_market()})


def push(source: WindowFeatures, hour: int, *keys: SeriesKey) -> int:
    source.push(BarSet(hour * HOUR, {key: BAR for key in keys or (BASE,)}))
    return hour * HOUR


def test_the_newest_vector() -> None:
    source = windows("ibs", "ibs_prev")
    stamp = push(source, 1)
    np.testing.assert_array_equal(source.vector(stamp), [2.0 / 3.0, np.nan])
    stamp = push(source, 2)
    np.testing.assert_array_equal(source.vector(stamp), [2.0 / 3.0, 2.0 / 3.0])


def test_a_vector_is_frozen() -> None:
    """What was read for a decision stays as it was, whatever comes in later."""
    source = windows("ibs", "pair_ibs")
    first = source.vector(push(source, 1, BASE))
    kept = first.copy()
    source.push(BarSet(2 * HOUR, {BASE: (1.0, 3.0, 0.0, 3.0, 1.0), PAIR: BAR}))
    np.testing.assert_array_equal(first, kept)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 9.0


def test_only_the_newest_stamp_has_a_vector() -> None:
    source = windows("ibs")
    push(source, 1)
    push(source, 2)
    with pytest.raises(FeatureError, match=r"vector of BASE:1h at .*: the newest bar ended at"):
        source.vector(HOUR)


@pytest.mark.parametrize("hour", [1, 2])
def test_stamps_must_rise(hour: int) -> None:
    source = windows("ibs")
    push(source, 2)
    with pytest.raises(FeatureError, match=r"bars of BASE:1h: stamp .* does not follow"):
        push(source, hour)


def test_cold_or_missing() -> None:
    source = windows("zscore_3", "pair_ibs", "ibs*zscore_3")
    stamp = push(source, 1)
    assert [source.absence(column, stamp) for column in range(3)] == [COLD, MISSING, COLD]
    assert source.filling() == {"zscore_3": (1, 3)}
    for hour in (2, 3):
        stamp = push(source, hour)
    assert source.filling() == {}
    assert np.isfinite(source.vector(stamp)[0])
    assert source.absence(1, stamp) == MISSING


def test_one_bar_less_than_the_window_is_not_enough() -> None:
    """PARITY row 24: lookback - 1 bars give nothing."""
    source = windows("rsi_2")
    for hour in range(1, 41):
        stamp = push(source, hour)
    assert np.isnan(source.vector(stamp)[0])
    assert source.filling() == {"rsi_2": (40, 41)}
    assert np.isfinite(source.vector(push(source, 41))[0])


@pytest.mark.parametrize("feature_id", ["ibs@PAIR", "pair_ibs"])
def test_another_instrument_goes_stale(feature_id: str) -> None:
    """Hourly bars of another instrument serve for three hours, then they are missing."""
    source = windows(feature_id)
    push(source, 1, BASE, PAIR)
    ages = {}
    for hour in range(2, 7):
        ages[hour - 1] = bool(np.isfinite(source.vector(push(source, hour))[0]))
    assert ages == {1: True, 2: True, 3: True, 4: False, 5: False}


def test_the_order_within_a_bar_set_does_not_matter() -> None:
    one, other = windows("pair_ibs", "ibs@PAIR"), windows("pair_ibs", "ibs@PAIR")
    stamp = push(one, 1, BASE, PAIR)
    push(other, 1, PAIR, BASE)
    np.testing.assert_array_equal(one.vector(stamp), other.vector(stamp))
    assert np.isfinite(one.vector(stamp)).all()


def test_keys_are_all_that_must_be_pushed() -> None:
    assert windows("pair_ibs", "ibs@NQ:1d").keys == (BASE, SeriesKey("NQ", DAILY), PAIR)


def test_a_bar_of_another_series_makes_no_vector() -> None:
    source = windows("ibs", "ibs@PAIR")
    stamp = push(source, 1, BASE, PAIR)
    push(source, 2, PAIR)
    assert source.vector(stamp)[0] == 2.0 / 3.0


def test_with_a_real_session_across_a_change_of_the_clock() -> None:
    """CME hours over the second Sunday of March 2024 and a half-day: calendar columns agree bit for bit."""
    session = Session(
        SessionTemplate(name="CME", calendar="CMES", timezone="America/New_York", open="18:00", close="17:00")
    )
    market = Market(instrument=canonical_market().instrument, session=session)
    start = np.datetime64("2024-03-05T00:00", "ns").astype(np.int64)
    bars = canonical_bars(300, CANONICAL_SYMBOL, HOURLY)
    moved = type(bars)(
        symbol=CANONICAL_SYMBOL, timeframe=HOURLY, end=bars.end - bars.end[0] + start, **bars.columns()
    )
    history = History(bars={BASE: moved}, markets={CANONICAL_SYMBOL: market})
    check_batch_equals_streaming(REGISTRY, REGISTRY.list(family="calendar"), history)
