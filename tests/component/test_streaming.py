"""WindowFeatures: the newest vector, one bar set at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import FeatureError
from lockstep.features.blocks import BarBlock
from lockstep.features.canonical import CANONICAL_SYMBOL, canonical_bars, canonical_market
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.features.plan import COLD, MISSING
from lockstep.features.streaming import WindowFeatures
from lockstep.market.history import BarSet, History, Market, SeriesKey
from lockstep.market.sessions import Session, SessionTemplate
from lockstep.market.timeframe import DAILY, Timeframe
from support.feature_checks import assert_same_bits, check_batch_equals_streaming

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


MIXED = (
    "ibs", "rsi_2", "zscore_3", "efficiency_ratio_10", "pair_ibs", "pair_zscore_20", "ibs@PAIR",
    "rsi_2@PAIR", "ibs@1d", "ibs*rsi_2", "hour", "month_end_1",
)  # fmt: skip
DAY_OF_BASE = SeriesKey(CANONICAL_SYMBOL, DAILY)


@st.composite
def released(draw: st.DrawFn) -> list[BarSet]:
    """Draw bar sets as a live engine releases them: series miss bars, which come late or never."""
    random = np.random.default_rng(draw(st.integers(0, 2**20)))
    sets: list[BarSet] = []
    newest = dict.fromkeys((BASE, PAIR, DAY_OF_BASE), 0)
    held: list[BarSet] = []

    def add(stamp: int, keys: list[SeriesKey]) -> None:
        bars = {}
        for key in keys:
            middle = 100.0 + int(random.integers(-8, 9)) / 4
            bars[key] = (middle, middle + 1.0, middle - 1.0, middle + int(random.integers(-4, 5)) / 4, 5.0)
            newest[key] = stamp
        sets.append(BarSet(stamp, bars))

    for hour in range(1, draw(st.integers(20, 140))):
        due = [BASE, *([PAIR] if hour % 30 < 24 else []), *([DAY_OF_BASE] if hour % 24 == 0 else [])]
        missing = [key for key in due if random.uniform() < 0.2]
        for late in [each for each in held if random.uniform() < 0.5]:
            held.remove(late)
            (key,) = late.bars
            if newest[key] < late.stamp:
                add(late.stamp, [key])
        add(hour * HOUR, [key for key in due if key not in missing])
        held += [BarSet(hour * HOUR, {key: BAR}) for key in missing if random.uniform() < 0.7]
    return sets


class TestPrepared:
    """Computed ahead, in blocks of any size: the bits, and the reasons for gaps, of one by one."""

    @pytest.mark.no_cover
    @settings(max_examples=60, deadline=None)
    @given(released(), st.lists(st.integers(1, 40), min_size=1, max_size=4))
    def test_equals_one_by_one(self, sets: list[BarSet], sizes: list[int]) -> None:
        one, ahead = windows(*MIXED), windows(*MIXED)
        vectors: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        place = number = 0
        while place < len(sets):
            block = sets[place : place + sizes[number % len(sizes)]]
            # Every second stretch is pushed one by one: either way goes on where the other stood.
            if number % 2 == 0:
                ahead.prepare(BarBlock.of(block))
            for bar_set in block:
                for source, found in zip((one, ahead), vectors, strict=True):
                    source.push(bar_set)
                    if BASE in bar_set.bars:
                        found.append(source.vector(bar_set.stamp))
                assert ahead.filling() == one.filling()
                for column in range(len(MIXED)):
                    assert ahead.absence(column, 0) == one.absence(column, 0)
            place, number = place + len(block), number + 1
        assert_same_bits("prepared and pushed differ", MIXED, np.array(vectors[0]), np.array(vectors[1]))

    def test_a_buffer_that_is_full_is_moved_within_a_block(self) -> None:
        """Far more bars than a window keeps, in one block and in single pushes."""
        one, ahead = windows("zscore_3", "hour"), windows("zscore_3", "hour")
        sets = [
            BarSet(hour * HOUR, {BASE: (9.0, 10.0, 8.0, 8.5 + hour % 7 / 4, 1.0)}) for hour in range(1, 2_000)
        ]
        ahead.push_all(sets[:-3])
        for bar_set in sets[:-3]:
            one.push(bar_set)
        for bar_set in sets[-3:]:
            one.push(bar_set)
            ahead.push(bar_set)
            np.testing.assert_array_equal(one.vector(bar_set.stamp), ahead.vector(bar_set.stamp))

    def test_a_vector_is_frozen(self) -> None:
        source = windows("ibs")
        source.push_all([BarSet(HOUR, {BASE: BAR})])
        with pytest.raises(ValueError, match="read-only"):
            source.vector(HOUR)[0] = 9.0

    def test_nothing_is_known_before_it_is_pushed(self) -> None:
        source = windows("ibs")
        sets = [BarSet(hour * HOUR, {BASE: BAR}) for hour in (1, 2)]
        source.prepare(BarBlock.of(sets))
        with pytest.raises(FeatureError, match="newest bar ended at"):
            source.vector(HOUR)
        source.push(sets[0])
        assert source.vector(HOUR)[0] == 2.0 / 3.0
        with pytest.raises(FeatureError, match="newest bar ended at"):
            source.vector(2 * HOUR)

    def test_what_is_pushed_must_be_what_was_prepared(self) -> None:
        source = windows("ibs")
        sets = [BarSet(hour * HOUR, {BASE: BAR}) for hour in (1, 2)]
        source.prepare(BarBlock.of(sets))
        with pytest.raises(FeatureError, match="push what was prepared before"):
            source.prepare(BarBlock.of(sets))
        with pytest.raises(
            FeatureError, match=r"bars at 7200.* were pushed where those at 3600.* were prepared"
        ):
            source.push(sets[1])
        with pytest.raises(FeatureError, match="were pushed where"):
            source.push(BarSet(HOUR, {BASE: BAR}))

    def test_stamps_must_rise(self) -> None:
        source = windows("ibs")
        push(source, 2)
        for hours in ((2,), (3, 5, 4)):
            with pytest.raises(FeatureError, match=r"bars of BASE:1h: stamp .* does not follow"):
                source.prepare(BarBlock.of([BarSet(hour * HOUR, {BASE: BAR}) for hour in hours]))

    def test_a_pair_is_looked_for_among_the_newest_bars_only(self) -> None:
        """A bar that comes very late finds no pair, in a block as one by one."""
        for in_blocks in (False, True):
            source = windows("pair_ibs")
            sets = [BarSet(hour * HOUR, {PAIR: BAR}) for hour in range(1, 602)]
            late = [BarSet(hour * HOUR, {BASE: BAR}) for hour in (100, 101, 102, 103)]
            found = []
            if in_blocks:
                source.prepare(BarBlock.of([*sets, *late]))
            for bar_set in (*sets, *late):
                source.push(bar_set)
                if BASE in bar_set.bars:
                    found.append(bool(np.isfinite(source.vector(bar_set.stamp)[0])))
            assert found == [False, False, True, True]
