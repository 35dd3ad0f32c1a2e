"""Slippage of fills as a stream: its promise in exact numbers, one state however it was reached, refusals."""

from __future__ import annotations

import math
import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import DataError
from lockstep.monitoring.alarms import month_of
from lockstep.monitoring.slippage import (
    BETS,
    CAP,
    DEVIATION,
    FLOOR,
    TOLERANCE,
    SlippageState,
    of_ticks,
    running,
)
from lockstep.monitoring.wealth import gains, wealth_paths

DAY = 86_400_000_000_000
START = 1_577_836_800_000_000_000  # 1 January 2020
Fills = list[tuple[int, list[float]]]


def after(fills: Fills, state: SlippageState | None = None) -> SlippageState:
    found = state or SlippageState.new()
    for day, ticks in fills:
        found = found.after(START + day * DAY, ticks)
    return found


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_x_is_above_its_floor_exactly_where_the_clipped_residual_is_within_the_tolerance(
    ticks: list[float],
) -> None:
    x = of_ticks(ticks)
    clipped = np.clip(ticks, TOLERANCE - CAP, TOLERANCE + CAP)
    assert ((x >= 0) & (x <= 1)).all()
    assert x.mean() - FLOOR == pytest.approx((TOLERANCE - clipped.mean()) / (2 * CAP), abs=1e-12)


def test_mean_wealth_is_what_was_added_where_fills_cost_the_tolerance() -> None:
    """Summed over all 2^8 paths, which is exact; a quarter tick more adds to it, one less takes."""
    paths = np.array(list(product((-2.0, 2.0), repeat=8)))
    months = [0, 0, 1, 1, 1, 4, 4, 11]
    found = [
        wealth_paths(gains(of_ticks((mean + paths).ravel()).reshape(paths.shape), FLOOR), months, BETS)[
            :, -1
        ].mean()
        for mean in (TOLERANCE - 0.25, TOLERANCE, TOLERANCE + 0.25)
    ]
    assert found[1] == pytest.approx(4 / 12)
    assert found[0] < found[1] < found[2]


@given(
    st.lists(st.lists(st.floats(-20, 20), min_size=1, max_size=4), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40)
def test_a_state_is_the_same_however_fills_of_a_moment_were_reported(
    drawn: list[list[float]], order: random.Random
) -> None:
    fills = [(9 * each, ticks) for each, ticks in enumerate(drawn, start=1)]
    shuffled = [(day, order.sample(ticks, len(ticks))) for day, ticks in fills]
    state = SlippageState.new()
    for day, ticks in shuffled:
        state = state.after(START + day * DAY, ticks)
        before = repr(state)
        assert state.sentence("COMP") == state.sentence("COMP")
        assert repr(state) == before
    assert repr(after(fills)) == repr(state)


def test_a_state_has_the_bits_of_the_simulated_paths() -> None:
    ticks = np.random.default_rng(3).normal(TOLERANCE, 1.5, 200)
    months = [month_of(START + 4 * DAY * each) for each in range(1, 201)]
    path = wealth_paths(gains(of_ticks(ticks), FLOOR)[None], months, BETS)[0]
    state = SlippageState.new()
    for each, (value, wealth) in enumerate(zip(ticks.tolist(), path.tolist(), strict=True), start=1):
        state = state.after(START + 4 * DAY * each, [value])
        assert state.wealth == wealth


def test_fills_of_one_moment_are_one_bet() -> None:
    one, five = after([(3, [2.0])]), after([(3, [2.0] * 5)])
    assert one.wealth == five.wealth
    assert (one.fills, five.fills, five.moments) == (1, 5, 1)


def worse(healthy: int = 20, fallen: int = 30, ticks: float = 1.75) -> Fills:
    calm = [(3 * each, [1.0 if each % 2 else -1.0]) for each in range(1, healthy + 1)]
    return calm + [(3 * each, [ticks]) for each in range(healthy + 1, healthy + fallen + 1)]


def test_an_alarm_is_one_sentence_and_stays_until_it_is_acknowledged() -> None:
    state = after(worse())
    said = state.sentence("COMP@v3 market orders")
    assert said == (
        f"ALARM COMP@v3 market orders: slippage is {state.mean_ticks:.2f} ticks beyond the cost model over "
        f"{state.gauge.outcomes} fills since about 2020-03-04, against the tolerance of 0.25 ticks. Fills "
        "within the tolerance do this in at most one year of 20, however often it is looked at. Compare the "
        "broker's times of fills with the times of sending, trade smaller or not at all until it is "
        "explained, then acknowledge: deploy/runbooks/alarm-slippage.md."
    )
    assert state.mean_ticks == pytest.approx(1.75)
    calm = after([(day, [-1.0]) for day in range(200, 260)], state)
    assert calm.sentence("COMP@v3 market orders") == said, "it says what it was raised for"
    noted = calm.acknowledged(calm.time)
    assert (noted.sentence("COMP"), noted.wealth, noted.raised) == ("", 0.0, 0)
    assert noted.acknowledged(noted.time) == noted


def test_fills_within_the_tolerance_raise_nothing() -> None:
    state = after([(2 * each, [TOLERANCE]) for each in range(1, 1_000)])
    assert not state.is_raised
    assert math.isnan(state.mean_ticks)
    assert state.wealth == pytest.approx(66 / 12)


def test_one_absurd_price_raises_nothing() -> None:
    """A fill of a million ticks is one bet, which is lost in full and no more."""
    assert not after([*worse(fallen=1, ticks=1e6)]).is_raised


def test_the_running_mean_has_bounds_that_hold() -> None:
    ticks = np.random.default_rng(7).normal(0.5, 1.0, 400)
    found = running(ticks)
    assert np.isneginf(found.low[0])
    assert ((found.low <= 0.5) & (found.high >= 0.5)).all()
    assert 0.0 < found.low[-1] < found.mean[-1] < found.high[-1] < DEVIATION
    assert found.mean[-1] == pytest.approx(ticks.mean(), abs=0.01)


@pytest.mark.parametrize(
    ("fills", "message"),
    [
        ([(1, [])], "no fill"),
        ([(1, [math.nan])], "finite number of ticks"),
        ([(1, [math.inf])], "finite number of ticks"),
        ([(2, [1.0]), (2, [1.0])], "after what was seen"),
        ([(2, [1.0]), (1, [1.0])], "rebuild where one came late"),
    ],
)
def test_what_cannot_be_bet_on_is_refused(fills: Fills, message: str) -> None:
    with pytest.raises(DataError, match=message):
        after(fills)


def test_an_acknowledgement_before_the_last_fill_is_refused() -> None:
    with pytest.raises(DataError, match="acknowledge now"):
        after([(2, [1.0])]).acknowledged(START)
