"""Every feature of the catalogue, by its example ids: what is registered is under these tests by itself.

So is a sample of ids with a rank, a lag or both.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockstep.errors import FeatureError
from lockstep.features.canonical import CANONICAL_VALUES, canonical_history, canonical_values
from lockstep.features.columns import series_columns
from lockstep.features.driver import drive_modifiers
from lockstep.features.feature import Feature, Parameters, feature
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.features.inputs import Window
from lockstep.features.invariance import price_levels, scale_sensitive, shift_sensitive
from lockstep.features.windows import percentile_rank
from lockstep.market.asof import MaxAge
from lockstep.market.history import History, SeriesKey
from lockstep.market.sessions import CALENDAR_COLUMNS
from lockstep.market.timeframe import DAILY
from support.examples import examples
from support.feature_checks import (
    MODIFIED,
    assert_same_bits,
    batch,
    check_batch_equals_streaming,
    check_blind_to_future,
    check_nan_rule,
    check_range,
    check_start_invariant,
)
from support.feature_histories import (
    BASE,
    PAIR,
    Recipe,
    Stretch,
    history_of,
    positive_recipes,
    recipes,
)
from support.interpreted import interpreted

REGISTRY = FeatureRegistry()
IDS = (*REGISTRY.list(), *MODIFIED)
FEATURES = {declared.name: declared for declared in REGISTRY}
FEW = settings(
    max_examples=examples(5), deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)

every_id = pytest.mark.parametrize("feature_id", IDS)
every_feature = pytest.mark.parametrize("name", list(FEATURES))


def lookback(feature_id: str) -> int:
    return max(term.lookback for term in REGISTRY.parse(feature_id).terms)


@every_id
@given(recipe=recipes())
@FEW
def test_batch_equals_streaming(feature_id: str, recipe: Recipe) -> None:
    check_batch_equals_streaming(REGISTRY, (feature_id,), history_of(recipe, lookback(feature_id)))


@every_id
@given(recipe=recipes(), cut=st.floats(0.0, 1.0))
@FEW
def test_blind_to_the_future(feature_id: str, recipe: Recipe, cut: float) -> None:
    history = history_of(recipe, lookback(feature_id))
    row = lookback(feature_id) + int(cut * (len(history.bars[BASE]) - lookback(feature_id) - 1))
    check_blind_to_future(REGISTRY, (feature_id,), history, row, recipe.seed)


@every_id
@given(recipe=recipes(), first=st.integers(1, 4))
@FEW
def test_does_not_depend_on_where_history_starts(feature_id: str, recipe: Recipe, first: int) -> None:
    check_start_invariant(REGISTRY, (feature_id,), history_of(recipe, lookback(feature_id)), first)


@every_id
@given(recipe=recipes())
@FEW
def test_range_and_nan_rule(feature_id: str, recipe: Recipe) -> None:
    history = history_of(recipe, lookback(feature_id))
    check_range(REGISTRY, feature_id, history)
    check_nan_rule(REGISTRY, feature_id, history, positive=False)


@every_id
@given(recipe=positive_recipes())
@FEW
def test_never_nan_while_prices_are_positive(feature_id: str, recipe: Recipe) -> None:
    check_nan_rule(REGISTRY, feature_id, history_of(recipe, lookback(feature_id)), positive=True)


@every_id
def test_constant_prices_without_volume(feature_id: str) -> None:
    """One price, no range, no volume: the neutral value that the docstring states, not rounding noise."""
    flat = Stretch(bars=lookback(feature_id) + 40, gap=0, drift=0, noise=0, reach=0, volume=0.0)
    recipe = Recipe(seed=1, level=410_013, tick=0.01, stretches=(flat,), pair_gaps=0.0)
    values = batch(REGISTRY, (feature_id,), history_of(recipe, 1))[-30:, 0]
    assert np.isfinite(values).all()
    (term,) = REGISTRY.parse(feature_id).terms
    if not set(term.feature.inputs) & set(CALENDAR_COLUMNS):
        assert set(values) <= {0.0, 0.5, 1.0, 10.0, 50.0}


@pytest.mark.parametrize("kind", ["zero range", "constant close", "huge volume", "deeply negative"])
@every_id
def test_legal_but_odd_bars(feature_id: str, kind: str) -> None:
    odd = {
        "zero range": Stretch(bars=80, gap=9, drift=0, noise=5, reach=0, volume=100.0),
        "constant close": Stretch(bars=80, gap=9, drift=0, noise=0, reach=6, volume=100.0),
        "huge volume": Stretch(bars=80, gap=9, drift=1, noise=5, reach=6, volume=1e15),
        "deeply negative": Stretch(bars=80, gap=-60_000, drift=1, noise=5, reach=6, volume=100.0),
    }[kind]
    recipe = Recipe(seed=2, level=20_000, tick=0.01, stretches=(odd,), pair_gaps=0.0)
    history = history_of(recipe, lookback(feature_id))
    check_range(REGISTRY, feature_id, history)
    check_nan_rule(REGISTRY, feature_id, history, positive=kind != "deeply negative")


@every_id
def test_shift_and_scale_behave_as_declared(feature_id: str) -> None:
    (term,) = REGISTRY.parse(feature_id).terms
    moved = shift_sensitive([feature_id], REGISTRY) != (), scale_sensitive([feature_id], REGISTRY) != ()
    declared = term.feature.shift_invariant, term.feature.scale_invariant
    if term.rank:
        assert not any(one and other for one, other in zip(moved, declared, strict=True))
    else:
        assert moved == tuple(not each for each in declared)


def test_a_rank_may_be_unmoved_where_its_feature_is_not() -> None:
    assert scale_sensitive(["atr_14", "atr_14~1", "atr_14%252"], REGISTRY) == ("atr_14", "atr_14~1")


def test_no_feature_of_the_catalogue_is_a_price_level() -> None:
    assert price_levels(IDS, REGISTRY) == ()


@every_id
def test_python_source_agrees_with_compiled_code(feature_id: str) -> None:
    (term,) = REGISTRY.parse(feature_id).terms
    history = canonical_history(term.lookback)
    key = next(iter(history.bars))
    columns = series_columns(history, key, term.feature.inputs, MaxAge())
    source, bars = interpreted(term.feature.compute), term.plain.lookback
    compiled = canonical_values(feature_id, REGISTRY)
    for row in range(0, CANONICAL_VALUES, 3 if term == term.plain else 50):
        earlier = [
            source(
                *(columns[name][first : first + bars] for name in term.feature.inputs),
                *term.feature.arguments(term.parameters),
            )
            for first in range(row, row + term.rank + 1)
        ]
        value = _share_below(earlier) if term.rank else earlier[0]
        assert value == pytest.approx(compiled[row], rel=1e-12, abs=1e-300, nan_ok=True), row


def _share_below(values: list[float]) -> float:
    *earlier, newest = values
    below = sum(each < newest for each in earlier) + 0.5 * sum(each == newest for each in earlier)
    return np.nan if np.isnan(values).any() else below / len(earlier)


@every_feature
def test_is_documented(name: str) -> None:
    text = FEATURES[name].documentation
    assert text.splitlines()[0].endswith(".")
    assert re.search(r"^Range [\[{(]", text, re.MULTILINE) or re.search(r"Range [\[{(]", text)
    assert "Source:" in text
    assert ("Never NaN." in text) is (FEATURES[name].nan == "never")
    assert ("NaN where" in text.replace("\n", " ")) is (FEATURES[name].nan != "never")


@every_feature
def test_examples_are_canonical_ids(name: str) -> None:
    declared = FEATURES[name]
    for example in declared.examples:
        assert str(REGISTRY.parse(declared.spell(example))) == declared.spell(example)


def smallest_parameters(declared: Feature) -> Parameters:
    """Return the least parameters that fit the declaration; where an order is asked for, 1, 2, 3 …"""
    least = tuple(
        value if name in declared.decimal else int(value) for name, value in declared.parameters.items()
    )
    for parameters in (least, tuple(range(1, len(least) + 1)), (1, 3, *least[2:])):
        try:
            declared.validate(parameters)
        except FeatureError:
            continue
        return parameters
    raise AssertionError(f"{declared.name}: no small parameters found")


@every_feature
@given(recipe=recipes())
@FEW
def test_smallest_parameters(name: str, recipe: Recipe) -> None:
    """Periods of one bar are where weights, slices and divisors go wrong."""
    text = FEATURES[name].spell(smallest_parameters(FEATURES[name]))
    history = history_of(recipe, lookback(text))
    check_batch_equals_streaming(REGISTRY, (text,), history)
    check_range(REGISTRY, text, history)
    check_nan_rule(REGISTRY, text, history, positive=False)


def test_catalogue_is_complete() -> None:
    """Around sixty families of ids in nine files, names unique."""
    assert len(FEATURES) == len(REGISTRY) >= 60
    assert REGISTRY.families == (
        "calendar",
        "oscillators",
        "pair",
        "price_bar",
        "regime",
        "returns",
        "trend",
        "volatility",
        "volume",
    )


QUALIFIED = (
    "ibs",
    "ibs@1d",
    "ibs@PAIR",
    "rsi_2@PAIR:1d",
    "zscore_20@PAIR",
    "pair_ibs",
    "day_of_week@1d",
    "ret_1*rsi_2@PAIR",
    "ibs*volume_pctile_20",
    "ibs~1",
    "ibs~1@1d",
    "rsi_2%20@PAIR",
    "rsi_2%5~2@PAIR:1d",
    "ibs%20*ret_1~1@PAIR",
)


def with_daily(history: History) -> History:
    """Add daily bars of both instruments: one per 24 hourly ones, complete with the last of them."""
    bars = dict(history.bars)
    for key, hourly in history.bars.items():
        last = np.flatnonzero(hourly.end % (24 * 3_600 * 10**9) == 0)
        daily = {name: values[last] for name, values in hourly.columns().items()}
        bars[SeriesKey(key.symbol, DAILY)] = type(hourly)(
            symbol=key.symbol, timeframe=DAILY, end=hourly.end[last], **daily
        )
    return History(bars=bars, markets=history.markets)


@given(recipe=recipes())
@settings(FEW, max_examples=examples(8))
def test_qualified_ids_and_products_batch_equals_streaming(recipe: Recipe) -> None:
    check_batch_equals_streaming(REGISTRY, QUALIFIED, with_daily(history_of(recipe, 1_200)))


def test_a_missing_pair_bar_is_missing_in_both() -> None:
    recipe = Recipe(seed=3, level=20_000, tick=0.25, stretches=(Stretch(12, 0, 1, 3, 3, 10.0),))
    history = history_of(recipe, 60)
    assert len(history.bars[PAIR]) < len(history.bars[BASE])
    values = batch(REGISTRY, ("pair_ibs",), history)[:, 0]
    assert np.isnan(values).any()
    check_batch_equals_streaming(REGISTRY, ("pair_ibs", "pair_corr_20"), history)


# Negative controls: faults that the very same checks must find.


def peeking_driver(declared: Feature) -> Callable[..., None]:
    """A driver whose window reaches one bar too far."""

    def drive(*arguments: Any) -> None:
        *given_, lookback, start, stop, out, at = arguments
        columns = given_[: len(declared.inputs)]
        parameters = given_[len(declared.inputs) :]
        n = columns[0].size
        for row in range(start, stop):
            first = min(row + 1, n - 1) - lookback + 1
            windows = (column[first : first + lookback] for column in columns)
            out[at + row - start] = declared.compute(*windows, *parameters) if first >= 0 else np.nan

    return drive


def expanding_driver(declared: Feature) -> Callable[..., None]:
    """A driver whose window begins with the file."""

    def drive(column: Window, *arguments: Any) -> None:
        *_, start, stop, out, at = arguments
        for row in range(start, stop):
            out[at + row - start] = percentile_rank(column[: row + 1]) if row > 0 else np.nan

    return drive


def late_modifiers(values: Window, rank: int, lag: int, start: int, stop: int, out: Window, at: int) -> None:
    """Modifiers whose lag is off by one."""
    drive_modifiers(values, rank, lag - 1, start, stop, out, at)


RECIPE = Recipe(seed=5, level=20_000, tick=0.25, stretches=(Stretch(60, 5, 0, 6, 5, 700.0),))


def test_a_look_ahead_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    history = history_of(RECIPE, 20)
    check_blind_to_future(REGISTRY, ("zscore_20",), history, 50, 1)
    monkeypatch.setattr("lockstep.features.batch.driver", peeking_driver)
    with pytest.raises(AssertionError, match="zscore_20: depends on later bars"):
        check_blind_to_future(REGISTRY, ("zscore_20",), history, 50, 1)
    with pytest.raises(AssertionError, match="zscore_20: batch and streaming differ"):
        check_batch_equals_streaming(REGISTRY, ("zscore_20",), history)


def test_an_expanding_percentile_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    history = history_of(RECIPE, 20)
    check_start_invariant(REGISTRY, ("volume_pctile_20",), history, 3)
    monkeypatch.setattr("lockstep.features.batch.driver", expanding_driver)
    with pytest.raises(AssertionError, match="volume_pctile_20: depends on where history begins"):
        check_start_invariant(REGISTRY, ("volume_pctile_20",), history, 3)
    with pytest.raises(AssertionError, match="batch and streaming differ"):
        check_batch_equals_streaming(REGISTRY, ("volume_pctile_20",), history)


def test_a_lag_into_the_future_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    history = history_of(RECIPE, 20)
    check_blind_to_future(REGISTRY, ("ibs%20",), history, 50, 1)

    def tomorrow(values: Window, rank: int, lag: int, *rows: Any) -> None:
        drive_modifiers(np.append(values[1:], np.nan), rank, lag, *rows)

    monkeypatch.setattr("lockstep.features.batch.drive_modifiers", tomorrow)
    with pytest.raises(AssertionError, match="ibs%20: depends on later bars"):
        check_blind_to_future(REGISTRY, ("ibs%20",), history, 50, 1)


def test_a_lag_that_is_off_by_one_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    history = history_of(RECIPE, 20)
    for each, same in (("ret_1~1", "ret_lag_1"), ("ibs~1", "ibs_prev"), ("atr_14%251", "atr_pctile_14_252")):
        long = history_of(RECIPE, lookback(each))
        assert_same_bits(each, (each,), batch(REGISTRY, (each,), long), batch(REGISTRY, (same,), long))
    monkeypatch.setattr("lockstep.features.batch.drive_modifiers", late_modifiers)
    with pytest.raises(AssertionError, match="ibs~1: batch and streaming differ"):
        check_batch_equals_streaming(REGISTRY, ("ibs~1",), history)
    with pytest.raises(AssertionError, match="ibs~1: as ibs_prev"):
        assert_same_bits(
            "as ibs_prev",
            ("ibs~1",),
            batch(REGISTRY, ("ibs~1",), history),
            batch(REGISTRY, ("ibs_prev",), history),
        )


def registry_with(wrong: Feature) -> FeatureRegistry:
    registry = FeatureRegistry()
    registry.register(wrong)
    return registry


def test_a_wrong_range_is_caught() -> None:
    @feature(lookback=1, range=(0.0, 0.6))
    def narrow(high: Window, low: Window, close: Window) -> float:
        """Internal bar strength with a wrong range."""
        return 0.5 if high[-1] == low[-1] else float((close[-1] - low[-1]) / (high[-1] - low[-1]))

    with pytest.raises(AssertionError, match=r"narrow: .* outside its declared range"):
        check_range(registry_with(narrow), "narrow", history_of(RECIPE, 20))


def test_an_undeclared_nan_is_caught() -> None:
    @feature(lookback=1)
    def gappy(high: Window, low: Window) -> float:
        """Nothing where the range is long."""
        return np.nan if high[-1] - low[-1] > 2.0 else 1.0

    with pytest.raises(AssertionError, match="gappy: NaN although its inputs are there"):
        check_nan_rule(registry_with(gappy), "gappy", history_of(RECIPE, 20), positive=True)


def test_a_wrong_invariance_is_observed() -> None:
    @feature(lookback=1, shift_invariant=True, scale_invariant=True)
    def price(close: Window) -> float:
        """The close itself."""
        return float(close[-1])

    assert not price.is_price_level, "it says otherwise of itself"
    assert price_levels(("price", "ibs", "ret_5", "atr_14"), registry_with(price)) == ("price",)


def test_noise_is_not_blown_up() -> None:
    """A steady rise by 0.1 has changes that differ only by rounding: no deviation to divide by."""
    steady = Stretch(bars=200, gap=0, drift=1, noise=0, reach=0, volume=1.0)
    recipe = Recipe(seed=4, level=410_013, tick=0.1, stretches=(steady,), pair_gaps=0.0)
    history = history_of(recipe, 1)
    closes = history.bars[BASE].close
    assert np.ptp(np.diff(closes[-20:])) > 0.0
    assert batch(REGISTRY, ("drift_20",), history)[-1, 0] == 0.0
    assert batch(REGISTRY, ("momentum_z_10_60",), history)[-1, 0] == 0.0


def test_two_features_of_one_name_are_refused() -> None:
    with pytest.raises(FeatureError, match="already declared in price_bar"):
        registry_with(FEATURES["ibs"])
