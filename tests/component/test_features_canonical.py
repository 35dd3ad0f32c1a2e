"""Canonical bars, canonical values, and what is found by shifting and scaling them."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.features.canonical import (
    CANONICAL_VALUES,
    CanonicalSession,
    canonical_bars,
    canonical_values,
)
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.features.invariance import price_levels, scale_sensitive, scaled, shift_sensitive, shifted
from lockstep.market.sessions import CALENDAR_COLUMNS
from lockstep.market.timeframe import DAILY, Timeframe

REGISTRY = FeatureRegistry()
CONTENT_HASH = "cc349a087870b6ec30bb968336de2ba405cf0c25aac20fb09bb30691693bc6b3"
BARS = canonical_bars(600, "BASE", Timeframe(60))
ACTIVE = BARS.rows(600 - 248, 600)


def test_every_kind_of_bar_occurs() -> None:
    step = np.diff(ACTIVE.close)
    span = ACTIVE.high - ACTIVE.low
    assert (ACTIVE.low < 0.0).any()
    assert (ACTIVE.close > 0.0).any()
    assert ((span == 0.0)[1:] & (step != 0.0)).any(), "no range, yet a change"
    assert ((span == 0.0)[1:] & (step == 0.0)).any(), "nothing at all"
    assert (ACTIVE.volume == 0.0).any()
    assert (ACTIVE.volume > 1e14).any()
    assert (np.abs(ACTIVE.open[1:] - ACTIVE.close[:-1]) > 40.0).any(), "a gap"
    assert (np.convolve(step > 0.0, np.ones(10), "valid") == 10).any(), "a streak up"
    assert (np.convolve(step < 0.0, np.ones(10), "valid") == 10).any(), "a streak down"


def test_the_beginning_is_flat() -> None:
    flat = BARS.rows(0, 600 - 248)
    assert np.ptp(flat.close) == np.ptp(flat.high - flat.low) == flat.volume.max() == 0.0


def test_bars_are_fixed_and_on_the_tick() -> None:
    """The generator must never change: stored bundles hold values on these very bars."""
    assert BARS.content_hash == CONTENT_HASH
    assert np.all(BARS.close * 4.0 == np.round(BARS.close * 4.0))


def test_symbols_differ_and_lengths_agree() -> None:
    other = canonical_bars(600, "PAIR", Timeframe(60))
    assert not np.array_equal(other.close, BARS.close)
    np.testing.assert_array_equal(canonical_bars(300, "BASE", Timeframe(60)).close, BARS.close[300:])
    assert np.all(np.diff(canonical_bars(10, "BASE", DAILY).end) == 24 * 3_600 * 10**9)


def test_values_begin_with_full_windows_of_flat_bars() -> None:
    values = canonical_values("close_ema_atr_200_14", REGISTRY)
    assert values.shape == (CANONICAL_VALUES,)
    np.testing.assert_array_equal(values[:8], 0.0)
    assert np.isfinite(values).all()


def test_products_and_qualifiers() -> None:
    ibs, rsi = canonical_values("ibs", REGISTRY), canonical_values("rsi_2", REGISTRY)
    np.testing.assert_array_equal(canonical_values("ibs*rsi_2", REGISTRY), ibs * rsi)
    np.testing.assert_array_equal(canonical_values("ibs@NQ:1d", REGISTRY), ibs)


def test_the_synthetic_calendar() -> None:
    """Row by row it is what it gives at once; half-days, both ends of a month, bars outside the session."""
    session = CanonicalSession()
    columns = session.columns(BARS.end, BARS.timeframe)
    assert tuple(columns) == CALENDAR_COLUMNS
    for row in (0, 17, 599):
        found = session.column_row(int(BARS.end[row]), BARS.timeframe)
        np.testing.assert_array_equal(found, [values[row] for values in columns.values()])
    assert set(columns["session_minutes"]) == {240.0, 480.0}
    assert {0.0, 19.0} <= set(columns["trading_days_left_in_month"])
    assert set(columns["in_session"]) == {0.0, 1.0}
    assert (columns["minute_of_session"] > columns["session_minutes"]).any()
    assert (columns["minute_of_session"] < 0).any()


def test_shift_and_scale_of_bars() -> None:
    np.testing.assert_array_equal(shifted(BARS, 3.0).low, BARS.low + 3.0)
    np.testing.assert_array_equal(scaled(BARS, 2.0).high, BARS.high * 2.0)
    np.testing.assert_array_equal(shifted(BARS, 3.0).volume, BARS.volume)


@pytest.mark.parametrize(
    ("feature_id", "shift", "scale"),
    [
        ("ibs", False, False),
        ("ret_5", True, False),
        ("realised_vol_20_252", True, False),
        ("atr_14", False, True),
        ("pair_log_ratio_z_20", True, False),
        ("hour", False, False),
        ("atr_14*ret_5", True, True),
        ("ret_5@NQ", True, False),
    ],
)
def test_sensitivity_is_observed(feature_id: str, shift: bool, scale: bool) -> None:
    assert shift_sensitive([feature_id], REGISTRY) == ((feature_id,) if shift else ())
    assert scale_sensitive([feature_id], REGISTRY) == ((feature_id,) if scale else ())
    assert price_levels([feature_id], REGISTRY) == ((feature_id,) if shift and scale else ())


def test_order_is_kept() -> None:
    assert shift_sensitive(["ret_5", "ibs", "log_ret_1"], REGISTRY) == ("ret_5", "log_ret_1")
