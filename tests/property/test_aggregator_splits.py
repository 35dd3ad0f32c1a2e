"""Any split of the input into batches gives the same bars, bit for bit; no bar is seen too early."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lockstep.market.aggregator import Aggregator, aggregate
from lockstep.market.bars import BAR_COLUMNS, Bars
from lockstep.market.sessions import Session
from lockstep.market.ticks import Ticks
from lockstep.market.timeframe import DAILY, Timeframe
from support.markets import (
    CME,
    CRYPTO,
    FIFTEEN,
    HOURLY,
    MINUTE,
    NEW_YORK,
    NYSE,
    ONE_MINUTE,
    assert_same_bits,
    concatenated,
    random_bars,
    random_ticks,
    utc,
)

Feed = Sequence[Bars] | Sequence[Ticks]
Engine = Callable[[Feed, Timeframe, Session], list[Bars]]

# Four days around both changes of daylight saving, a half-day and an ordinary weekend.
STARTS = ("2024-03-08 12:00", "2024-11-01 12:00", "2018-11-21 12:00", "2024-01-05 12:00")
FRAMES = (FIFTEEN, HOURLY, Timeframe.parse("4h"), DAILY)


def one_by_one(batches: Feed, timeframe: Timeframe, session: Session) -> list[Bars]:
    aggregator = Aggregator("ES", timeframe, session)
    return [aggregator.push(batch) for batch in batches]


@st.composite
def gappy_stamps(draw: st.DrawFn, *, repeats: bool) -> NDArray[np.int64]:
    """Return stamps over four days, in minutes, with gaps of any length; ticks may share one."""
    start = utc(draw(st.sampled_from(STARTS)), NEW_YORK)
    steps = draw(
        st.lists(st.sampled_from([0, 1, 1, 2, 14, 15, 61, 800] if repeats else [1, 1, 2, 14, 15, 61, 800]),
                 min_size=2, max_size=40)
    )  # fmt: skip
    return np.asarray(start + np.cumsum(steps, dtype=np.int64) * MINUTE)


def split(data: Bars | Ticks, cuts: list[int]) -> list[Bars] | list[Ticks]:
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data.rows(a, b) for a, b in pairwise(edges)]  # type: ignore[return-value]


def check_split(
    data: Bars | Ticks, cuts: list[int], timeframe: Timeframe, session: Session, engine: Engine
) -> None:
    whole = engine([data], timeframe, session)  # type: ignore[list-item]
    parts = engine(split(data, cuts), timeframe, session)
    assert_same_bits(concatenated(whole), concatenated(parts))


def check_causal(data: Bars, timeframe: Timeframe, session: Session, engine: Engine) -> None:
    """Every bar is returned once, and not before a base bar that ends at or after its end."""
    seen: list[int] = []
    batches = [data.rows(i, i + 1) for i in range(len(data))]
    for batch, made in zip(batches, engine(batches, timeframe, session), strict=True):
        for end in made.end.tolist():
            assert end <= int(batch.end[0]), "visible before it is complete"
            seen.append(end)
    assert seen == sorted(set(seen)), "a bar was returned twice"
    assert seen == aggregate(data, timeframe, session).end.tolist()


cases = given(
    gappy_stamps(repeats=False),
    st.lists(st.integers(0, 1000), max_size=8),
    st.sampled_from(FRAMES),
    st.sampled_from([CME, NYSE, CRYPTO]),
)


@pytest.mark.uncompiled
@settings(max_examples=60, deadline=None)
@cases
def test_any_split_of_bars_gives_the_same_bars(
    end: NDArray[np.int64], cuts: list[int], timeframe: Timeframe, session: Session
) -> None:
    check_split(random_bars(end, ONE_MINUTE), cuts, timeframe, session, one_by_one)


@settings(max_examples=60, deadline=None)
@given(
    gappy_stamps(repeats=True),
    st.lists(st.integers(0, 1000), max_size=8),
    st.sampled_from(FRAMES),
    st.sampled_from([CME, NYSE, CRYPTO]),
)
def test_any_split_of_ticks_gives_the_same_bars(
    stamp: NDArray[np.int64], cuts: list[int], timeframe: Timeframe, session: Session
) -> None:
    check_split(random_ticks(stamp), cuts, timeframe, session, one_by_one)


@settings(max_examples=40, deadline=None)
@cases
def test_no_bar_is_visible_before_it_is_complete(
    end: NDArray[np.int64], cuts: list[int], timeframe: Timeframe, session: Session
) -> None:
    check_causal(random_bars(end, ONE_MINUTE), timeframe, session, one_by_one)


@settings(max_examples=40, deadline=None)
@cases
def test_a_clock_that_ticks_between_batches_changes_no_value(
    end: NDArray[np.int64], cuts: list[int], timeframe: Timeframe, session: Session
) -> None:
    data = random_bars(end, ONE_MINUTE)
    aggregator, made = Aggregator("ES", timeframe, session), []
    for batch in split(data, cuts):
        made.append(aggregator.push(batch))
        if len(batch):
            made.append(aggregator.advance(int(batch.end[-1])))
    made.append(aggregator.advance(int(end[-1])))
    assert_same_bits(concatenated(one_by_one([data], timeframe, session)), concatenated(made))


# ---- mutants of PARITY 9 and 11: each must be caught


def on_a_timer(batches: Feed, timeframe: Timeframe, session: Session) -> list[Bars]:
    """Emit whatever has come whenever a batch ends, as a timer does."""
    made = []
    aggregator = Aggregator("ES", timeframe, session)
    for batch in batches:
        made += [aggregator.push(batch), aggregator.advance(2**62)]
        aggregator = Aggregator("ES", timeframe, session)
    return made


def running_bar_exposed(batches: Feed, timeframe: Timeframe, session: Session) -> list[Bars]:
    """Show the running daily bar after each batch."""
    made, aggregator = [], Aggregator("ES", timeframe, session)
    for batch in batches:
        done = aggregator.push(batch)
        columns = dict(zip(BAR_COLUMNS, aggregator._bar.reshape(-1, 1).copy(), strict=True))
        peek = Bars(symbol="ES", timeframe=timeframe, end=aggregator._bucket.copy(), **columns)
        made.append(done if len(done) else peek)
    return made


def test_mutant_emitting_on_a_timer_is_caught() -> None:
    data = random_bars(
        np.arange(1, 11, dtype=np.int64) * MINUTE + utc("2024-01-04 10:00", NEW_YORK), ONE_MINUTE
    )
    with pytest.raises(AssertionError, match="differs"):
        check_split(data, [4], FIFTEEN, CME, on_a_timer)


def test_mutant_exposing_the_running_daily_bar_is_caught() -> None:
    data = random_bars(
        np.arange(1, 11, dtype=np.int64) * MINUTE + utc("2024-01-04 10:00", NEW_YORK), ONE_MINUTE
    )
    with pytest.raises(AssertionError, match="before it is complete"):
        check_causal(data, DAILY, CME, running_bar_exposed)
