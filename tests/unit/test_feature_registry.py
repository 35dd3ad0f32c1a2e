"""The registry as a notebook uses it."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.errors import FeatureError, UnknownFeature
from lockstep.features.canonical import CANONICAL_SYMBOL, canonical_bars, canonical_history
from lockstep.features.feature import feature
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.features.inputs import Window
from lockstep.market.timeframe import DAILY, Timeframe

BARS = canonical_bars(300, "ES", DAILY)


@pytest.fixture
def registry() -> FeatureRegistry:
    return FeatureRegistry()


def test_calculate(registry: FeatureRegistry) -> None:
    values = registry.calculate("ibs", BARS)
    span = np.where(BARS.high > BARS.low, BARS.high - BARS.low, 1.0)
    expected = np.where(BARS.high > BARS.low, (BARS.close - BARS.low) / span, 0.5)
    np.testing.assert_array_equal(values, expected)


def test_calculate_is_nan_until_the_window_is_full(registry: FeatureRegistry) -> None:
    values = registry.calculate("rsi_2", BARS)
    assert np.isnan(values[:40]).all()
    assert np.isfinite(values[40:]).all()


def test_matrix_is_labelled(registry: FeatureRegistry) -> None:
    frame = registry.matrix(["rsi_2", "ibs", "ibs*rsi_2"], BARS)
    assert list(frame.columns) == ["rsi_2", "ibs", "ibs*rsi_2"]
    assert str(frame.index.tz) == "UTC"
    assert frame.index.name == "end"
    np.testing.assert_array_equal(frame["ibs*rsi_2"], frame["ibs"] * frame["rsi_2"])


def test_describe_says_what_one_needs_to_know(registry: FeatureRegistry) -> None:
    text = registry.describe("rsi_2")
    for part in ("Wilder", "lookback    41 bars", "range       [0, 100]", "inputs      close", "oscillators"):
        assert part in text
    assert registry.fingerprint("rsi_2") in text
    assert "rsi_2@NQ" in registry.describe("ibs*rsi_2@NQ")


def test_list_by_family(registry: FeatureRegistry) -> None:
    assert "ibs" in registry.list(family="price_bar")
    assert "rsi_2" not in registry.list(family="price_bar")
    assert set(registry.list()) == {text for name in registry.families for text in registry.list(family=name)}
    with pytest.raises(FeatureError, match=r"family 'prices': there are calendar, oscillators, pair"):
        registry.list(family="prices")


@pytest.mark.parametrize(
    ("wrong", "suggestion"),
    [
        ("rsy_2", "did you mean rsi_2?"),
        ("ibss", "did you mean ibs?"),
        ("atr_percentile_14_252", "did you mean atr_pctile_14_252?"),
        ("rsi_2*volume_pctil_20", "did you mean volume_pctile_20?"),
    ],
)
def test_an_unknown_id_suggests_the_nearest(registry: FeatureRegistry, wrong: str, suggestion: str) -> None:
    with pytest.raises(UnknownFeature) as refusal:
        registry.calculate(wrong, BARS)
    assert suggestion in str(refusal.value)


def test_an_empty_registry_suggests_nothing() -> None:
    with pytest.raises(UnknownFeature, match=r"no feature 'ibs'$"):
        FeatureRegistry(()).parse("ibs")


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ("rsi", "write rsi_<period>, for example rsi_2"),
        ("rsi_2_3", "takes 1 parameters"),
        ("rsi_0", "period = 0: must be at least 1"),
        ("rsi_2.5", "must be a whole number"),
        ("atr_5000", "lookback 49996: must be 1 to 20000 bars"),
    ],
)
def test_wrong_parameters_are_refused(registry: FeatureRegistry, wrong: str, rule: str) -> None:
    with pytest.raises(FeatureError, match=rule):
        registry.parse(wrong)


def test_outcomes_are_no_features(registry: FeatureRegistry) -> None:
    for name in ("exit_price", "close", "net_pnl"):
        with pytest.raises(UnknownFeature):
            registry.parse(name)


def test_a_feature_from_a_notebook(registry: FeatureRegistry) -> None:
    @registry.register
    @feature(lookback=2, scale_invariant=True)
    def doubled(close: Window) -> float:
        """Twice the change."""
        return 2.0 * float(close[-1] - close[-2])

    np.testing.assert_array_equal(registry.calculate("doubled", BARS)[1:], 2.0 * np.diff(BARS.close))
    assert doubled in list(registry)
    with pytest.raises(FeatureError, match="feature doubled: already declared in test_feature_registry"):
        registry.register(doubled)
    assert "doubled" not in FeatureRegistry().list()


def test_pair_and_calendar_features_say_what_they_need(registry: FeatureRegistry) -> None:
    with pytest.raises(FeatureError, match="calendar features of ES need its market: pass history="):
        registry.calculate("hour", BARS)
    with pytest.raises(FeatureError, match="pair features of ES need its market"):
        registry.calculate("pair_ibs", BARS)
    history = canonical_history(20)
    bars = canonical_bars(50, CANONICAL_SYMBOL, Timeframe(60))
    assert np.isfinite(registry.calculate("pair_ibs", bars, history=history)).all()


def test_the_default_registry_is_made_once() -> None:
    assert default_registry() is default_registry()
    assert default_registry().list() == FeatureRegistry().list()


def test_declarations_are_checked() -> None:
    with pytest.raises(FeatureError, match="needs a docstring"):

        @feature(lookback=1)
        def silent(close: Window) -> float:
            return float(close[-1])

    with pytest.raises(FeatureError, match="arguments are input columns first"):

        @feature(lookback=1)
        def no_inputs(period: int) -> float:
            """Nothing to look at."""
            return float(period)

    with pytest.raises(FeatureError, match="arguments are input columns first"):

        @feature(lookback=1, examples=((1,),))
        def reversed_(period: int, close: Window) -> float:
            """Parameters before inputs."""
            return float(close[-1] * period)

    with pytest.raises(FeatureError, match="takes 1 parameters"):

        @feature(lookback=1)
        def no_example(close: Window, period: int) -> float:
            """Its example has no parameter."""
            return float(close[-1] * period)
