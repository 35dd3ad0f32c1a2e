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
    "text",
    [
        "ibs",
        "rsi_2@NQ",
        "ibs@1d",
        "zscore_20@NQ:1d",
        "rsi_2*volume_pctile_20",
        "ibs@1d*ibs@NQ",
        "ibs~1",
        "rsi_2%252",
        "rsi_2%252~1",
        "psar_distance_0.02_0.2_100_14%9~8@NQ:1d",
        "ibs*ibs~1",
        "ibs%20@1d*rsi_2~3@NQ",
    ],
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


@pytest.mark.parametrize(
    ("text", "rank", "lag", "lookback"),
    [
        ("rsi_2", 0, 0, 41),
        ("rsi_2~1", 0, 1, 42),
        ("rsi_2%252", 252, 0, 293),
        ("rsi_2%252~3", 252, 3, 296),
        ("ibs~19999", 0, 19_999, 20_000),
    ],
)
def test_modifiers(text: str, rank: int, lag: int, lookback: int) -> None:
    (term,) = REGISTRY.parse(text).terms
    assert (term.rank, term.lag, term.lookback) == (rank, lag, lookback)
    assert (term.low, term.high) == ((0.0, 1.0) if rank else (term.feature.low, term.feature.high))
    assert str(term.plain) == text.partition("%")[0].partition("~")[0]


def test_modifiers_are_of_the_terms_own_series() -> None:
    (term,) = REGISTRY.parse("ibs%20~1@NQ:1d").terms
    assert (term.rank, term.lag, term.series(ES)) == (20, 1, SeriesKey("NQ", DAILY))
    assert (str(term.plain), str(term.unqualified)) == ("ibs@NQ:1d", "ibs%20~1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ibs~", r"'~': behind ~ stands a whole number of bars, 1 or more: write ibs~1"),
        ("ibs~0", r"'~0': behind ~ stands a whole number of bars, 1 or more: write ibs~1"),
        ("ibs~01", r"'~01': behind ~ stands"),
        ("ibs~-1", r"'~-1': behind ~ stands"),
        ("ibs~1.5", r"'~1\.5': behind ~ stands"),
        ("ibs~x@NQ", r"'~x': behind ~ stands"),
        ("rsi_2%", r"'%': behind % stands a whole number of bars, 1 or more: write rsi_2%252"),
        ("rsi_2%0", r"'%0': behind % stands"),
        ("ibs~20000", r"ibs~20000: lookback 20001: must be 1 to 20000 bars"),
        ("ibs%19000~1000@NQ", r"ibs%19000~1000@NQ: lookback 20001"),
        ("rsi_2~1%252", r"the canonical spelling is rsi_2%252~1"),
        ("ibs@NQ~1", r"the canonical spelling is ibs~1@NQ"),
        ("ibs%5@1d~1", r"the canonical spelling is ibs%5~1@1d"),
        ("ibs~1~2", r"the canonical spelling is ibs~3"),
        ("ibs%5%6", r"two ranks: an id has one at most: write ibs%5"),
        ("ibs~1*ibs", r"the canonical spelling is ibs\*ibs~1"),
        ("rsx_2~1", r"no feature 'rsx'; did you mean rsi_2\?"),
        ("rsi_2-1", r"write numbers plainly"),
    ],
)
def test_bad_modifiers_are_refused_with_what_was_meant(text: str, reason: str) -> None:
    with pytest.raises(FeatureError, match=reason):
        REGISTRY.parse(text)


@given(text=st.text(alphabet="ibsr_0125.@:*dNQ~%", max_size=16))
def test_any_text_is_canonical_or_refused_on_purpose(text: str) -> None:
    try:
        parsed: object = REGISTRY.parse(text)
    except (FeatureError, ConfigError):
        parsed = text
    assert str(parsed) == text
