"""Windows side by side give the bits of one window after the other; long histories ask for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockstep.features import lanes
from lockstep.features.batch import BatchFeatures
from lockstep.features.driver import driver
from lockstep.features.feature import Feature
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.market.bars import Bars
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import Timeframe

FEATURES = {each.name: each for each in FeatureRegistry()}
PARAMETERS = {"rsi": (1,), "atr": (1,), "adx": (1,), "atr_pctile": (1, 2)}


def columns(bars: int, seed: int, flat: float) -> dict[str, Any]:
    """Return a random walk on a grid, `flat` of whose bars do not move at all."""
    random = np.random.default_rng(seed)
    moves = random.integers(-6, 7, bars) * (random.random(bars) >= flat)
    close = 50.0 + 0.1 * np.cumsum(moves)
    found = {
        "high": close + 0.1 * random.integers(0, 4, bars) * (moves != 0),
        "low": close - 0.1 * random.integers(0, 4, bars) * (moves != 0),
        "close": close,
    }
    for column in found.values():
        column.setflags(write=False)
    return found


def driven(
    drive: Any, feature: Feature, parameters: tuple[int, ...], data: Any, start: int, stop: int
) -> bytes:
    out = np.full(stop - start + 2, 7.0)
    inputs = [data[name] for name in feature.inputs]
    drive(*inputs, *parameters, feature.lookback(parameters), start, stop, out, 1)
    assert out[0] == out[-1] == 7.0
    return out.tobytes()


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(PARAMETERS)),
    period=st.integers(1, 30),
    window=st.integers(2, 40),
    bars=st.integers(1, 1_400),
    start=st.integers(0, 1_400),
    seed=st.integers(0, 2**32),
    flat=st.sampled_from([0.0, 0.3, 0.97, 1.0]),
)
@example(name="adx", period=14, window=2, bars=448 + 300, start=0, seed=1, flat=0.3)
@example(name="rsi", period=1, window=2, bars=2, start=1, seed=1, flat=0.0)
def test_values_are_those_of_one_window_after_the_other(
    name: str, period: int, window: int, bars: int, start: int, seed: int, flat: float
) -> None:
    feature = FEATURES[name]
    parameters = (period, window)[: len(PARAMETERS[name])]
    data, first = columns(bars, seed, flat), min(start, bars)
    fast = driven(lanes.batch_driver(feature), feature, parameters, data, first, bars)
    assert fast == driven(driver(feature), feature, parameters, data, first, bars)


def test_each_of_them_is_the_catalogue_s_and_computes_something() -> None:
    assert set(lanes._DRIVERS) == set(PARAMETERS) <= set(FEATURES)
    for name in PARAMETERS:
        assert lanes.batch_driver(FEATURES[name]) is not driver(FEATURES[name])
    assert lanes.batch_driver(FEATURES["ibs"]) is driver(FEATURES["ibs"])


def test_a_feature_of_the_user_s_own_keeps_its_own_kernel() -> None:
    from lockstep.features.feature import feature
    from lockstep.features.inputs import Window

    def rsi(close: Window, period: int) -> float:
        """Return something else."""
        return float(close[-1])

    own = feature(lookback=lambda period: period, examples=((2,),))(rsi)
    assert lanes.batch_driver(own) is driver(own)


def test_the_comparison_can_fail() -> None:
    """Negative control: another decay, by one unit in the last place, is noticed."""
    data = columns(600, 3, 0.0)
    values = data["close"]
    right, wrong = np.empty(100), np.empty(100)
    lanes.lane_sums(values, 400, values[399:499], 0.9, right)
    lanes.lane_sums(values, 400, values[399:499], np.nextafter(0.9, 1.0), wrong)
    assert right.tobytes() != wrong.tobytes()


@pytest.mark.parametrize("ids", [("rsi_2", "atr_14", "ibs"), ("ibs*rsi_2", "adx_5%20~3", "ibs")])
def test_a_long_history_on_all_cores_has_the_bits_of_a_short_one(ids: tuple[str, ...]) -> None:
    """A history of several stretches, and its last bars alone with what their windows need."""
    minute = Timeframe(1)
    key, bars = SeriesKey("ES", minute), 150_000
    data = columns(bars, 5, 0.1)
    end = 1_600_000_000_000_000_000 + np.arange(bars) * minute.nanoseconds
    whole = Bars(symbol="ES", timeframe=minute, end=end, open=data["close"], volume=np.ones(bars), **data)
    plan = FeatureRegistry().plan(ids, key)
    last = whole.rows(bars - plan.lookback(key) - 2_000, bars)
    long, short = (
        BatchFeatures(plan, History(bars={key: each}, markets={})).matrix for each in (whole, last)
    )
    assert long.shape == (bars, len(ids))
    assert np.isfinite(long[-2_000:]).all()
    assert long[-2_000:].tobytes() == short[-2_000:].tobytes()
