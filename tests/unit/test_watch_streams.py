"""Streams of a desk from outcomes: what feeds which, order, swaps, acknowledgements, the frontier."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from lockstep.monitoring.outcomes import SignalOutcome, thinned
from lockstep.monitoring.reference import MonitoringReference
from lockstep.monitoring.reference_outcomes import monitoring_reference
from operations.watch.join import LaneSwap
from operations.watch.streams import (
    DESK,
    Acknowledgement,
    LaneStreams,
    WatchedStreams,
    stream_values,
    watched,
)
from support.references import reference_outcomes

DAY = 86_400_000_000_000
START = 1_600_000_000_000_000_000
BUNDLE, NEXT = "ab" * 32, "cd" * 32


def reference(bundle: str = BUNDLE) -> MonitoringReference:
    return monitoring_reference(reference_outcomes(400), bundle=bundle)


REFERENCE = reference()


def signal(day: int, *, state: Any = "taken", won: bool = False, **changes: Any) -> SignalOutcome:
    values: dict[str, Any] = {
        "lane": "ES", "decision": START + day * DAY, "bundle": BUNDLE, "side": 1, "probability": 0.7,
        "state": state, "entry": START + (day + 1) * DAY, "exit": START + (day + 2) * DAY,
        "quantity": 1.0, "entry_price": 100.0, "exit_price": 101.0, "pnl": 50.0 if won else -50.0,
        "following": 0.01,
    }  # fmt: skip
    return SignalOutcome(**{**values, **changes})


def swap(bundle: str = BUNDLE, day: int = 0, lane: str = "ES") -> LaneSwap:
    return LaneSwap(lane=lane, stamp=START + day * DAY, bundle=bundle, version="v1", epoch=1)


def lane(outcomes: list[SignalOutcome], *swaps: LaneSwap, name: str = "ES", **more: Any) -> LaneStreams:
    found = {BUNDLE: REFERENCE, **more.pop("references", {})}
    return LaneStreams(
        lane=name, swaps=swaps or (swap(lane=name),), outcomes=outcomes, references=found, **more
    )


def seen(lanes: list[LaneStreams], *noted: Acknowledgement, until: int = 10_000) -> WatchedStreams:
    return watched(lanes, noted, frontier=START + until * DAY)


def outcomes_of(found: WatchedStreams) -> dict[str, int]:
    assert found.desk is not None
    places = zip(found.desk.places, found.desk.streams, strict=True)
    return {place.name: stream.outcomes for place, stream in places}


def test_only_taken_feeds_wins_and_profits() -> None:
    """Calibration and information coefficient take vetoed signals too, where none overlaps."""
    outcomes = [
        signal(1), signal(2, state="vetoed"), signal(4, state="vetoed"), signal(7, state="refused"),
        signal(8, state="censored"), signal(9),
    ]  # fmt: skip
    assert outcomes_of(seen([lane(outcomes)])) == {
        "ES calibration": 3, "ES ic": 3, "ES pnl": 2, "ES win_rate": 2,
    }  # fmt: skip


def test_losses_raise_alarms_and_wins_do_not() -> None:
    lost = seen([lane([signal(2 * day) for day in range(1, 80)])])
    assert {(each.place, each.level) for each in lost.alarms} >= {
        ("ES win_rate", "ALARM"), ("ES win_rate", "WATCH"), ("ES pnl", "ALARM"), (DESK, "ALARM"),
    }  # fmt: skip
    won = seen([lane([signal(2 * day, won=True) for day in range(1, 80)])])
    assert not [each for each in won.alarms if each.stream in ("win_rate", "pnl")]


def test_order_of_everything_changes_nothing() -> None:
    draw = random.Random(3)
    outcomes = [
        signal(day, won=draw.random() < 0.4, state=draw.choice(["taken", "vetoed", "refused"]))
        for day in range(1, 200)
    ]
    other = [replace(each, lane="NQ") for each in outcomes[::2]]
    noted = [Acknowledgement(place=DESK, time=START + 90 * DAY)]
    noted += [Acknowledgement(place="ES pnl", time=START + 120 * DAY)]
    straight = seen([lane(outcomes), lane(other, name="NQ")], *noted)
    draw.shuffle(outcomes)
    draw.shuffle(other)
    turned = seen([lane(other, name="NQ"), lane(outcomes)], *reversed(noted))
    assert repr(turned) == repr(straight)
    assert straight.alarms


def test_an_earlier_frontier_is_a_prefix() -> None:
    """What was said up to a moment is said for good: nothing that comes later changes it."""
    draw = random.Random(5)
    outcomes = [signal(day, won=draw.random() < 0.3) for day in range(1, 150, 2)]
    whole = seen([lane(outcomes)])
    for until in (20, 60, 101):
        part = seen([lane(outcomes)], until=until)
        assert part.wealth == whole.wealth[: len(part.wealth)]
        early = [each for each in whole.alarms if each.raised <= START + until * DAY]
        assert [(each.place, each.level, each.sentence) for each in part.alarms] == [
            (each.place, each.level, each.sentence) for each in early
        ]


def test_a_new_bundle_starts_new_streams() -> None:
    old = [signal(2 * day) for day in range(1, 40)]
    new = [signal(2 * day, bundle=NEXT, won=True) for day in range(40, 60)]
    late = signal(79, state="vetoed", exit=START + 95 * DAY)
    found = seen([lane([*old, late, *new], swap(), swap(NEXT, 80), references={NEXT: reference(NEXT)})])
    assert outcomes_of(found)["ES win_rate"] == len(new)
    assert found.desk is not None
    assert {each.bundle for each in found.desk.places} == {NEXT}
    raised = [each for each in found.alarms if each.place == "ES win_rate"]
    assert raised
    assert all(each.acknowledged == START + 80 * DAY for each in raised), "they ended with their bundle"
    assert late.exit not in {point.time for point in found.wealth if point.place == "ES calibration"}


def test_a_bundle_that_comes_back_starts_again() -> None:
    first = [signal(2 * day) for day in range(1, 20)]
    second = [signal(2 * day, bundle=NEXT) for day in range(20, 30)]
    third = [signal(2 * day) for day in range(30, 35)]
    swaps = (swap(), swap(NEXT, 40), swap(BUNDLE, 60))
    found = seen([lane([*first, *second, *third], *swaps, references={NEXT: reference(NEXT)})])
    assert outcomes_of(found)["ES win_rate"] == len(third)


def test_a_bundle_without_a_reference_feeds_nothing() -> None:
    outcomes = [signal(day, bundle=NEXT) for day in range(1, 30)]
    assert seen([lane(outcomes, swap(NEXT))]).desk is None
    both = seen([lane(outcomes, swap(NEXT)), lane([], name="NQ")])
    assert set(outcomes_of(both)) == {f"NQ {kind}" for kind in ("win_rate", "pnl", "calibration", "ic")}


def test_a_lane_that_joins_later_is_a_new_place() -> None:
    outcomes = [signal(2 * day) for day in range(1, 30)]
    later = [replace(signal(2 * day), lane="NQ") for day in range(20, 30)]
    alone = seen([lane(outcomes)], until=38)
    both = seen([lane(outcomes), lane(later, swap(lane="NQ", day=39), name="NQ")])
    assert both.wealth[: len(alone.wealth)] == alone.wealth
    assert outcomes_of(both)["NQ win_rate"] == 10


def test_an_acknowledgement_ends_what_was_raised_and_not_more() -> None:
    outcomes = [signal(2 * day) for day in range(1, 60)]
    raised = seen([lane(outcomes)], until=100)
    place = "ES win_rate"
    assert {(each.place, each.level) for each in raised.alarms} >= {(place, "ALARM"), ("ES pnl", "ALARM")}
    noted = seen([lane(outcomes)], Acknowledgement(place=place, time=START + 100 * DAY), until=100)
    mine = [each for each in noted.alarms if each.place == place]
    assert all(each.acknowledged == START + 100 * DAY for each in mine)
    assert all(not each.acknowledged for each in noted.alarms if each.place != place)
    again = seen([lane(outcomes)], Acknowledgement(place=place, time=START + 100 * DAY))
    assert len([each for each in again.alarms if each.place == place]) >= len(mine)
    other = seen([lane(outcomes)], Acknowledgement(place="ES slippage market", time=START + 100 * DAY))
    assert repr(other) == repr(seen([lane(outcomes)])), "a stream of its own is not the desk's"


def test_profits_are_those_of_the_strategys_own_size() -> None:
    """A portfolio that trades three times as much must not look three times as good, or as bad."""
    stream = REFERENCE.of("pnl")
    assert stream is not None
    plain = [signal(day, won=day % 2 == 0) for day in range(1, 20, 3)]
    larger = [replace(each, quantity=3.0, pnl=3.0 * each.pnl) for each in plain]
    sizes = {(each.decision, BUNDLE): 1.0 for each in plain}
    assert list(stream_values(stream, larger, sizes)) == list(stream_values(stream, plain, sizes))
    assert list(stream_values(stream, larger, {})) != list(stream_values(stream, plain, {}))


@pytest.mark.parametrize("chance", [float("nan"), -0.1, 1.1])
def test_impossible_probabilities_feed_nothing(chance: float) -> None:
    outcomes = [signal(2 * day) for day in range(1, 10)]
    outcomes[4] = replace(outcomes[4], probability=chance)
    found = outcomes_of(seen([lane(outcomes)]))
    assert (found["ES win_rate"], found["ES calibration"], found["ES ic"]) == (9, 8, 8)


def test_probabilities_of_0_and_1_are_probabilities() -> None:
    outcomes = [replace(signal(2 * day), probability=float(day % 2)) for day in range(1, 10)]
    assert outcomes_of(seen([lane(outcomes)]))["ES calibration"] == 9


def test_what_is_open_ends_the_choice_until_it_ends() -> None:
    held = signal(5, state="open", exit=0)
    found = thinned([signal(1), held, signal(6, state="vetoed"), signal(9)])
    assert [each.decision for each in found] == [START + DAY]
    ended = replace(held, state="taken", exit=START + 8 * DAY)
    found = thinned([signal(1), ended, signal(6, state="vetoed"), signal(9)])
    assert [each.decision - START for each in found] == [DAY, 5 * DAY, 9 * DAY]


def test_a_trade_of_the_old_bundle_never_feeds_the_new_one() -> None:
    """Two epochs may go over the same bars, so that the time alone does not say whose a signal is."""
    old = [signal(2 * day) for day in range(1, 40)]
    new = [signal(2 * day, bundle=NEXT, won=True) for day in range(10, 40)]
    swaps, references = (swap(), swap(NEXT, 20)), {NEXT: reference(NEXT)}
    found = seen([lane([*old, *new], *swaps, references=references)])
    alone = seen([lane([*old[:9], *new], *swaps, references=references)])
    assert repr(found) == repr(alone)
    assert outcomes_of(found)["ES win_rate"] == len(new)
    assert "ES win_rate" not in {each.place for each in found.alarms if not each.acknowledged}
