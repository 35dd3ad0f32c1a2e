"""A desk's own ALARM: a mean of its streams, with places that stay, and one latch."""

from __future__ import annotations

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from lockstep.monitoring.alarms import Stamp, rebuilt
from lockstep.monitoring.desk_alarms import DeskPlace, DeskState
from lockstep.monitoring.reference import StreamReference
from lockstep.monitoring.wealth import ALPHA, bets

DAY = 86_400_000_000_000
START = 1_577_836_800_000_000_000
NAMES = ("GC win_rate", "COMP win_rate", "CL win_rate")
BAR = StreamReference(
    stream="win_rate", estimate=0.62, floor=0.6, outcomes=400, per_year=120, lag_1=0.0,
    lag_1_bound=0.04, every=1, alarm_bets=bets(1.2), watch_bets=bets(1.3), watch_threshold=6.0,
    visible_fall=0.12,
)  # fmt: skip


def place(name: str, bundle: str = "ab" * 32) -> DeskPlace:
    return DeskPlace(name=name, bundle=bundle, reference=BAR)


def desk() -> DeskState:
    return DeskState.new(place(name) for name in NAMES)


def lost(day: int, *names: str, x: float = 0.0) -> dict[str, Stamp]:
    return {name: Stamp(time=START + day * DAY, values=(x,)) for name in names}


def test_its_wealth_is_the_mean_and_its_streams_are_those_alone() -> None:
    rng = np.random.default_rng(1)
    state, alone = desk(), {name: [] for name in NAMES}
    for day in range(1, 60):
        chosen = [name for name in NAMES if rng.random() < 0.5] or [NAMES[0]]
        stamps = lost(day, *chosen, x=float(rng.random() < 0.5))
        state = state.after(stamps)
        for name in chosen:
            alone[name].append(stamps[name])
    totals = []
    for each, stream in zip(state.places, state.streams, strict=True):
        assert stream == rebuilt(each.bundle, BAR, alone[each.name])
        totals.append(stream.alarm.total)
    assert state.wealth == pytest.approx(np.mean(totals))


def test_one_stream_must_reach_as_many_times_more() -> None:
    """Streams that are looked at one by one are false more often than a desk of them promises."""
    state, days = desk(), 0
    while not state.raised:
        days += 1
        state = state.after(lost(days, NAMES[0]))
    assert state.streams[2].alarm.total >= 3 / ALPHA
    assert state.streams[2].alarm.raised < state.raised


def test_it_stays_raised_and_starts_again_once_it_is_acknowledged() -> None:
    state = desk()
    for day in range(1, 40):
        state = state.after(lost(day, *NAMES))
    assert state.raised
    better = state
    for day in range(40, 120):
        better = better.after(lost(day, *NAMES, x=1.0))
    assert better.wealth < 1 / ALPHA
    assert better.raised == state.raised
    noted = better.acknowledged(better.time)
    assert (noted.raised, noted.wealth) == (0, 0.0)
    assert noted.acknowledged(noted.time) == noted


def test_what_is_not_raised_goes_on() -> None:
    state = desk().after(lost(1, *NAMES))
    assert state.acknowledged(state.time).wealth == state.wealth > 0


def test_a_new_bundle_takes_the_place_of_the_old_one() -> None:
    state = desk()
    for day in range(1, 10):
        state = state.after(lost(day, *NAMES))
    following = state.replaced(state.time, place("COMP win_rate", "cd" * 32))
    assert following.streams[1].bundle == "cd" * 32
    assert following.streams[1].alarm.total == 0.0
    assert following.wealth == pytest.approx(state.wealth * 2 / 3)
    with pytest.raises(ConfigError, match="not on this desk; it has CL win_rate"):
        state.replaced(state.time, place("ES win_rate"))


def test_a_place_that_joins_wins_nothing() -> None:
    state = desk()
    for day in range(1, 10):
        state = state.after(lost(day, *NAMES))
    wider = state.joined(state.time, place("ES win_rate"))
    assert wider.wealth == pytest.approx(state.wealth * 3 / 4)
    assert [each.name for each in wider.places] == sorted([*NAMES, "ES win_rate"])
    kept = dict(zip((each.name for each in state.places), state.streams, strict=True))
    for each, stream in zip(wider.places, wider.streams, strict=True):
        assert stream == kept.get(each.name, stream)
    with pytest.raises(ConfigError, match="is on this desk"):
        state.joined(state.time, place(NAMES[0]))
    with pytest.raises(DataError, match="before what was seen"):
        state.joined(START, place("ES win_rate"))


def test_one_place_is_acknowledged_alone() -> None:
    state = desk()
    for day in range(1, 40):
        state = state.after(lost(day, *NAMES))
    assert state.raised
    noted = state.acknowledged(state.time, "CL win_rate")
    assert (noted.raised, noted.streams[0].alarm.raised) == (state.raised, 0)
    assert noted.streams[1:] == state.streams[1:]
    with pytest.raises(ConfigError, match="not on this desk"):
        state.acknowledged(state.time, "ES win_rate")


def test_order_of_places_changes_nothing() -> None:
    assert DeskState.new(place(name) for name in reversed(NAMES)) == desk()
    one = desk().after(dict(reversed(lost(1, *NAMES).items())))
    assert repr(one) == repr(desk().after(lost(1, *NAMES)))


def test_what_cannot_be_is_refused() -> None:
    state = desk().after(lost(5, *NAMES))
    for late in (lost(5, NAMES[0]), lost(4, NAMES[0]), lost(6, NAMES[0]) | lost(7, NAMES[1]), {}):
        with pytest.raises(DataError, match="one later moment"):
            state.after(late)
    with pytest.raises(ConfigError, match="ES"):
        state.after(lost(6, "ES win_rate"))
    with pytest.raises(DataError, match="before what was seen"):
        state.acknowledged(START)
    for wrong in ((), (place("A"), place("A"))):
        with pytest.raises(ConfigError, match="only once"):
            DeskState.new(wrong)
