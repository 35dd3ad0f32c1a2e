"""Streams of a desk: exact means by enumeration, one state however it was reached, latches, refusals."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import ConfigError, DataError
from lockstep.metrics import Floats
from lockstep.monitoring.alarm_text import raised, visible
from lockstep.monitoring.alarms import Gauge, Stamp, StreamState, month_of, rebuilt
from lockstep.monitoring.reference import StreamReference
from lockstep.monitoring.wealth import ALPHA, FALLS, LARGEST_BET, bets, even_months, gains, wealth_paths

DAY = 86_400_000_000_000
START = 1_577_836_800_000_000_000  # 1 January 2020
BUNDLE = "ab" * 32


def reference(**changes: object) -> StreamReference:
    return StreamReference.model_validate(
        {
            "stream": "win_rate", "estimate": 0.62, "floor": 0.6, "outcomes": 400, "per_year": 120,
            "lag_1": 0.0, "lag_1_bound": 0.04, "every": 1, "alarm_bets": bets(1.2), "watch_bets": bets(1.3),
            "watch_threshold": 6.0, "visible_fall": 0.12,
        }
        | changes
    )  # fmt: skip


def stamps(values: list[float], *, start: int = START, gap: int = 3 * DAY) -> list[Stamp]:
    return [Stamp(time=start + gap * (each + 1), values=(x,)) for each, x in enumerate(values)]


def test_every_factor_is_positive_at_every_bet() -> None:
    worst = gains([1.0], 0.6)[0]
    assert worst == 1.0
    assert all(1.0 - share * worst >= 1.0 - LARGEST_BET - 1e-12 > 0 for share in bets(0.01))
    assert len(set(bets(1.28))) == len(FALLS)


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("floor", [0.25, 0.6])
def test_mean_wealth_is_what_was_added_if_the_mean_is_the_floor(every: int, floor: float) -> None:
    """Summed over all 2^8 paths, which is exact: each month adds a twelfth, no bet adds or takes anything."""
    x = np.array(list(product((0.0, 1.0), repeat=8)))
    chance = np.where(x == 1, floor, 1 - floor).prod(axis=1)
    months = [0, 0, 1, 1, 1, 4, 4, 11]
    added = len({months[each] for each in range(every - 1, 8, every)}) / 12
    wealth = wealth_paths(gains(x, floor), months, bets(1.0), every=every)[:, -1]
    assert chance @ wealth == pytest.approx(added)
    better = np.where(x == 1, floor + 0.1, 0.9 - floor).prod(axis=1)
    assert better @ wealth < added


def slow(x: list[float], months: list[int], floor: float, shares: tuple[float, ...]) -> list[float]:
    """Return the summed wealth by its definition: each month's start, at each lambda, by itself."""
    out = []
    for end in range(1, len(x) + 1):
        whole = 0.0
        for share in shares:
            rate = share / (1 - floor)
            for start in range(end):
                if start == 0 or months[start] != months[start - 1]:
                    whole += (
                        math.prod(1 - rate * (x[each] - floor) for each in range(start, end))
                        / 12
                        / len(shares)
                    )
        out.append(whole)
    return out


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=25))
def test_wealth_is_that_of_its_definition(drawn: list[tuple[float, bool]]) -> None:
    x = [each for each, _ in drawn]
    months = np.cumsum([new for _, new in drawn]).tolist()
    found = wealth_paths(gains(np.array([x]), 0.6), months, bets(1.2))[0]
    assert found == pytest.approx(slow(x, months, 0.6, bets(1.2)))


@given(
    st.lists(st.sampled_from([0.0, 1.0, 0.3]), min_size=1, max_size=60),
    st.sampled_from([1, 5]),
    st.lists(st.integers(0, 70), max_size=3),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40)
def test_a_state_is_the_same_however_it_was_reached(
    values: list[float], every: int, noted: list[int], order: random.Random
) -> None:
    bar, given_stamps = reference(every=every, watch_threshold=0.3), stamps(values, gap=20 * DAY)
    times = sorted({START + 20 * DAY * each for each in noted})
    shuffled = order.sample(given_stamps, len(given_stamps))
    state = StreamState.new(BUNDLE, bar)
    events = sorted([(each.time, 0, each) for each in given_stamps] + [(time, 1, None) for time in times],
                    key=lambda each: each[:2])  # fmt: skip
    for time, _, stamp in events:
        before = repr(state)
        raised(state, bar, name="COMP")
        assert state.alarm.total >= 0.0
        assert repr(state) == before
        state = state.acknowledged(time) if stamp is None else state.after(stamp, bar)
    assert repr(rebuilt(BUNDLE, bar, shuffled, reversed(times))) == repr(state)


@pytest.mark.parametrize("every", [1, 5])
def test_a_state_has_the_bits_of_the_simulated_paths(every: int) -> None:
    rng = np.random.default_rng(5)
    x = (rng.random(150) < 0.55).astype(float)
    bar = reference(every=every, watch_threshold=1e9)
    given_stamps = stamps(x.tolist(), gap=5 * DAY)
    months = [month_of(each.time) for each in given_stamps]
    state, alarm, watch = StreamState.new(BUNDLE, bar), [], []
    for each in given_stamps:
        state = state.after(each, bar)
        alarm.append(state.alarm.total)
        watch.append(state.watch.total)

    def simulated(floor: float, shares: tuple[float, ...], yearly: bool) -> list[float]:
        path: Floats = wealth_paths(gains(x[None], floor), months, shares, every=every, yearly=yearly)[0]
        return path.tolist()

    assert alarm == simulated(bar.floor, bar.alarm_bets, False)
    assert watch == simulated(bar.estimate, bar.watch_bets, True)
    assert watch != simulated(bar.estimate, bar.watch_bets, False)


def test_a_raised_alarm_stays_until_it_is_acknowledged() -> None:
    bar = reference()
    fallen = rebuilt(BUNDLE, bar, stamps([0.0] * 30))
    assert fallen.alarm.raised
    better = rebuilt(BUNDLE, bar, stamps([0.0] * 30 + [1.0] * 60))
    assert better.alarm.total < 1 / ALPHA
    assert better.alarm.raised == fallen.alarm.raised
    noted = better.acknowledged(better.time)
    assert not noted.alarm.raised
    assert noted.alarm.total == 0.0
    assert raised(noted, bar, name="COMP") == ()
    assert noted.acknowledged(noted.time) == noted


def test_an_acknowledgement_adds_no_second_start_in_a_month() -> None:
    """Otherwise acknowledging often would add more than one a year, and the rate would not hold."""
    bar = reference(watch_threshold=0.01)
    state = StreamState.new(BUNDLE, bar)
    hours = [Stamp(time=START + each * 3_600_000_000_000, values=(0.0,)) for each in range(1, 9)]
    for each in hours:
        state = state.after(each, bar).acknowledged(each.time)
        assert state.watch.total == 0.0
    once = state.after(Stamp(time=hours[-1].time + 1, values=(0.0,)), bar)
    assert once.watch.total == 0.0


def test_it_says_what_fell_since_when_how_often_and_what_to_do() -> None:
    bar = reference()
    state = rebuilt(BUNDLE, bar, stamps([1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0] * 10 + [0.0] * 20))
    found = raised(state, bar, name="COMP@v3")
    assert [each.level for each in found] == ["ALARM", "WATCH"]
    since = START + 3 * DAY * 71
    assert found[0].since == since
    assert found[0].sentence == (
        "ALARM COMP@v3: win rate 0.0% over 17 outcomes since about 2020-08-01, against the floor of 60.0%. "
        "A healthy stream does this in at most one year of 20, however often it is looked at. The smallest "
        "decay that a year of 120 outcomes shows as ALARM is from 62.0% to 50.0%, in one case of two. Stop "
        "new entries or shrink them, start a challenger, then acknowledge."
    )
    assert "No decay shows" in visible(reference(visible_fall=None))


def test_instruments_of_one_moment_are_one_bet_on_their_mean() -> None:
    bar = reference()
    one = StreamState.new(BUNDLE, bar).after(Stamp(time=START, values=(0.5,)), bar)
    five = StreamState.new(BUNDLE, bar).after(Stamp(time=START, values=(0.0, 1.0, 0.5, 0.25, 0.75)), bar)
    assert five == one


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((), "there must be one"),
        ((math.nan,), "must lie in"),
        ((0.5, 1.5), "must lie in"),
        ((-0.1,), "must lie"),
    ],
)
def test_outcomes_that_cannot_be_are_refused(values: tuple[float, ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        StreamState.new(BUNDLE, reference()).after(Stamp(time=START, values=values), reference())


def test_time_only_runs_forward() -> None:
    bar = reference()
    state = rebuilt(BUNDLE, bar, stamps([1.0]))
    for time in (state.time, state.time - 1):
        with pytest.raises(DataError, match="rebuild where one came late"):
            state.after(Stamp(time=time, values=(1.0,)), bar)
    with pytest.raises(DataError, match="before the last outcome"):
        state.acknowledged(state.time - 1)
    with pytest.raises(ConfigError, match="pass its own"):
        state.after(Stamp(time=state.time + 1, values=(1.0,)), reference(stream="pnl"))


def test_a_gauge_without_a_rise_says_so() -> None:
    bar = reference()
    state = replace(StreamState.new(BUNDLE, bar), watch=Gauge(wealth=(2.0,) * 5, raised=START))
    assert "win rate is lower since 2020-01-01" in raised(state, bar, name="COMP")[0].sentence


def test_months_are_even() -> None:
    assert np.bincount(even_months(120, 60)).tolist() == [5] * 24
