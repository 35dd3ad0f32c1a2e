"""Canonical ids: one spelling per value, and errors that say the right one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import ConfigError, FeatureError
from lockstep.features.feature_id import split_name, split_qualifier
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import DAILY, Timeframe

REGISTRY = FeatureRegistry()
ES = SeriesKey("ES", Timeframe.parse("1h"))


@pytest.mark.parametrize(
    ("text", "name", "parameters"),
    [
        ("ibs", "ibs", ()),
        ("rsi_2", "rsi", (2,)),
        ("atr_pctile_14_252", "atr_pctile", (14, 252)),
        ("psar_distance_0.02_0.2_100_14", "psar_distance", (0.02, 0.2, 100, 14)),
        ("month_end_0", "month_end", (0,)),
        ("5", "5", ()),
    ],
)
def test_name_and_parameters(text: str, name: str, parameters: tuple[float, ...]) -> None:
    assert split_name(text) == (name, parameters)
    assert [type(value) for value in split_name(text)[1]] == [type(value) for value in parameters]


@pytest.mark.parametrize("part", ["02", "2.0", "2.50", "1e3", "0x2", "9999999999", "2.", "0.0"])
def test_odd_numbers_are_refused(part: str) -> None:
    with pytest.raises(FeatureError, match="write numbers plainly"):
        split_name(f"rsi_{part}")


@pytest.mark.parametrize(
    ("text", "symbol", "timeframe"),
    [
        ("NQ", "NQ", None),
        ("1d", None, DAILY),
        ("15min", None, Timeframe(15)),
        ("NQ:1d", "NQ", DAILY),
        ("BTC-USD:1h", "BTC-USD", Timeframe(60)),
        ("6E", "6E", None),
    ],
)
def test_qualifiers(text: str, symbol: str | None, timeframe: Timeframe | None) -> None:
    assert split_qualifier(text, text) == (symbol, timeframe)


@pytest.mark.parametrize("text", ["", ":", "NQ:", ":1d"])
def test_half_a_qualifier_is_refused(text: str) -> None:
    with pytest.raises(FeatureError, match="qualifier is @SYMBOL"):
        split_qualifier(text, f"ibs@{text}")


def test_an_unknown_timeframe_is_refused() -> None:
    with pytest.raises(ConfigError, match="spelled 1h here"):
        REGISTRY.parse("ibs@60min")


@pytest.mark.parametrize(
    "text", ["ibs", "rsi_2@NQ", "ibs@1d", "zscore_20@NQ:1d", "rsi_2*volume_pctile_20", "ibs@1d*ibs@NQ"]
)
def test_ids_read_back_as_they_are(text: str) -> None:
    assert str(REGISTRY.parse(text)) == text


def test_a_product_has_one_order_and_two_factors() -> None:
    with pytest.raises(FeatureError, match=r"canonical spelling is ibs\*rsi_2"):
        REGISTRY.parse("rsi_2*ibs")
    with pytest.raises(FeatureError, match="a product has two factors"):
        REGISTRY.parse("ibs*ibs*ibs")


def test_the_series_of_a_term() -> None:
    def series(text: str) -> SeriesKey:
        return REGISTRY.parse(text).terms[0].series(ES)

    assert series("ibs") == ES
    assert series("ibs@NQ") == SeriesKey("NQ", ES.timeframe)
    assert series("ibs@1d") == SeriesKey("ES", DAILY)
    assert series("ibs@NQ:1d") == SeriesKey("NQ", DAILY)
    assert REGISTRY.parse("rsi_2@NQ").terms[0].lookback == 41


@given(text=st.text(alphabet="ibsr_0125.@:*dNQ", max_size=16))
def test_any_text_is_canonical_or_refused_on_purpose(text: str) -> None:
    try:
        parsed: object = REGISTRY.parse(text)
    except (FeatureError, ConfigError):
        parsed = text
    assert str(parsed) == text
