"""Any order of arrival: the same sets, each bar once, nothing lost. Mutants of PARITY 9 and 29 die."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockstep.live.bar_rules import broken_rule
from lockstep.live.messages import Arrival, Irregularity, Release
from lockstep.live.synchroniser import SECOND, Synchroniser
from lockstep.live.timetable import Timetable
from lockstep.market.bars import BAR_COLUMNS, value_violations
from lockstep.market.history import SeriesKey
from support.feeds import (
    COMP,
    DAY_SPY,
    GRACE,
    HOUR_SPY,
    PAIR,
    SPX,
    arrival,
    bar_sets,
    closes,
    drained,
    flat,
    kinds,
    released,
)
from support.markets import NEW_YORK, NYSE, utc

HOUR = 3_600 * SECOND
DAYS = closes("2018-12-11", "2018-12-12", "2018-12-13")
(BEFORE,) = closes("2018-12-10")
KEYS = {HOUR_SPY: NYSE, DAY_SPY: NYSE, COMP: NYSE, SPX: NYSE}
KNOWN = {key: [(BEFORE, flat())] for key in KEYS}
LONG_GRACE = 3 * 24 * HOUR


def bars() -> list[tuple[SeriesKey, int]]:
    """Hours of SPY with its days and a daily pair: half of them share stamps."""
    ends = [utc(f"2018-12-{day} {hour}:00", NEW_YORK) for day in (11, 12) for hour in range(10, 17)]
    daily = [(key, end) for key in (DAY_SPY, COMP, SPX) for end in DAYS[:2]]
    return [(HOUR_SPY, end) for end in ends] + daily


def synchroniser(grace: int = GRACE, kind: type[Synchroniser] = Synchroniser) -> Synchroniser:
    return kind(Timetable(KEYS), grace_ns=grace, traded=frozenset({HOUR_SPY, COMP}), known=KNOWN)


def in_order_of_arrival(delays: Sequence[int], rows: Sequence[tuple[SeriesKey, int]]) -> list[Arrival]:
    arrivals = [arrival(key, end, delay=delay) for (key, end), delay in zip(rows, delays, strict=True)]
    return sorted(arrivals, key=lambda each: each.received)


def check_same_sets(delays: Sequence[int], grace: int, kind: type[Synchroniser] = Synchroniser) -> None:
    rows = bars()
    on_time = released(synchroniser(grace), in_order_of_arrival([0] * len(rows), rows))
    found = released(synchroniser(grace, kind), in_order_of_arrival(delays, rows))
    assert bar_sets(found) == bar_sets(on_time), "other sets"
    assert kinds(found) == [], "irregular"


def check_accounts(arrivals: Sequence[Arrival], made: Synchroniser) -> list[Release]:
    """Every arrival is delivered once or reported; stamps rise."""
    releases = released(made, arrivals)
    stamps = [release.stamp for release in releases]
    assert stamps == sorted(set(stamps)), "stamps do not rise"
    late = [(each.key, each.end) for release in releases for each in release.late]
    delivered = Counter([(key, release.stamp) for release in releases for key in release.bars] + late)
    assert not delivered or max(delivered.values()) == 1, "delivered twice"
    reports = [each for release in releases for each in release.irregularities] + list(made.take_reports())
    refused = Counter((each.key, each.end) for each in reports if each.kind in REFUSED)
    pending = set(made._late)
    for bar, count in Counter((each.key, each.end) for each in arrivals).items():
        assert delivered[bar] + refused[bar] + (bar in pending) == count, f"{bar} was lost"
    return releases


REFUSED = ("duplicate", "corrected", "out_of_order", "bad")
delays_within = st.lists(st.integers(0, LONG_GRACE - 1), min_size=20, max_size=20)


@settings(max_examples=60, deadline=None)
@given(delays_within)
def test_any_order_within_the_grace_gives_the_same_sets(delays: list[int]) -> None:
    check_same_sets(delays, LONG_GRACE)


OFF_GRID = (COMP, DAYS[0] + SECOND)
anything = st.lists(
    st.tuples(
        st.sampled_from([*bars(), OFF_GRID]), st.integers(0, 2 * LONG_GRACE), st.sampled_from([100.0, 7.0])
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(anything, st.sampled_from([0, GRACE, LONG_GRACE]))
def test_every_bar_is_delivered_once_or_reported(
    rows: list[tuple[tuple[SeriesKey, int], int, float]], grace: int
) -> None:
    arrivals = [arrival(key, end, delay=delay, price=price) for (key, end), delay, price in rows]
    check_accounts(sorted(arrivals, key=lambda each: each.received), synchroniser(grace))


@settings(max_examples=60, deadline=None)
@given(anything, st.lists(st.integers(1, 40), max_size=10))
def test_batches_of_the_inbox_change_nothing(
    rows: list[tuple[tuple[SeriesKey, int], int, float]], cuts: list[int]
) -> None:
    """Time is that of the bars: how many of them the engine takes at once does not matter."""
    arrivals = sorted(
        (arrival(key, end, delay=delay, price=price) for (key, end), delay, price in rows),
        key=lambda each: each.received,
    )
    single, batched = synchroniser(), synchroniser()
    one_by_one = released(single, arrivals)
    found, edges = [], sorted({0, *(cut for cut in cuts if cut < len(arrivals)), len(arrivals)})
    for first, last in pairwise(edges):
        for each in arrivals[first:last]:
            batched.offer(each)
        now = arrivals[last - 1].received
        found += drained(batched, now)
    found += released(batched, [])
    assert bar_sets(found) == bar_sets(one_by_one)
    assert [release.late for release in found] == [release.late for release in one_by_one]


prices = st.sampled_from([0.0, -0.0, 1.0, 2.0, -3.0, float("nan"), float("inf"), float("-inf"), 1e308])


@settings(max_examples=300, deadline=None)
@given(st.tuples(prices, prices, prices, prices, prices))
@example((1.0, 2.0, 0.0, 1.0, 0.0))
def test_the_quick_rules_are_the_rules_of_bars(values: tuple[float, ...]) -> None:
    columns = {name: np.array([value]) for name, value in zip(BAR_COLUMNS, values, strict=True)}
    slow = [rule for broken, _, rule in value_violations(columns) if broken[0]]
    rule = broken_rule(values)
    assert bool(rule) == bool(slow)
    assert not rule or rule.endswith(slow[0])


# ---- mutants of PARITY 9 and 29: each must be caught


class OnATimer(Synchroniser):
    """Releases what is there whenever a bar comes, as a timer does."""

    def _is_complete(self, stamp: int) -> bool:
        return True


class Overtaking(Synchroniser):
    """Lets a complete set go although an earlier one is outstanding."""

    def _close_sets(self) -> None:
        for stamp in sorted(self._waiting):
            if self._timetable.scheduled(stamp) <= self._waiting[stamp].keys():
                self._ready.append(self._close(stamp))
        super()._close_sets()


class Replacing(Synchroniser):
    """Delivers a bar again whose set was released."""

    def _refusal(self, arrival: Arrival) -> tuple[str, str]:
        kind, detail = super()._refusal(arrival)
        return ("", "") if kind in ("out_of_order", "corrected") else (kind, detail)


class Silent(Synchroniser):
    """Drops late bars without a word."""

    def _note(self, irregularity: Irregularity) -> None:
        if irregularity.kind != "out_of_order":
            super()._note(irregularity)


LATE_PAIR = [HOUR if key == SPX else 0 for key, _ in bars()]
LATE_DAY = [25 * HOUR if (key, end) == (COMP, DAYS[0]) else 0 for key, end in bars()]


@pytest.mark.parametrize(
    ("kind", "delays"), [(OnATimer, LATE_PAIR), (Overtaking, LATE_DAY)], ids=["timer", "overtaking"]
)
def test_mutant_releasing_too_early_is_caught(kind: type[Synchroniser], delays: list[int]) -> None:
    check_same_sets(delays, LONG_GRACE)
    with pytest.raises(AssertionError, match="other sets"):
        check_same_sets(delays, LONG_GRACE, kind)


@pytest.mark.parametrize("kind", [Replacing, Silent])
def test_mutant_losing_or_repeating_a_bar_is_caught(kind: type[Synchroniser]) -> None:
    arrivals = [
        arrival(SPX, DAYS[0]),
        arrival(COMP, DAYS[0], delay=GRACE),
        arrival(COMP, DAYS[1]),
        arrival(SPX, DAYS[1]),
    ]
    options = {"grace_ns": GRACE, "traded": frozenset({COMP}), "known": {COMP: KNOWN[COMP], SPX: KNOWN[SPX]}}
    check_accounts(arrivals, Synchroniser(PAIR, **options))  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match=r"stamps do not rise|lost|twice"):
        check_accounts(arrivals, kind(PAIR, **options))  # type: ignore[arg-type]
