"""Any order of arrival: the same sets, each bar once, nothing lost, none implausible.

Mutants of PARITY 9, 29 and 39 die.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockstep.live.feeds.synchroniser import END_OF_TIME, SECOND, Synchroniser
from lockstep.live.messages import Arrival, Irregularity, Release, Values
from lockstep.live.plausible import AGREE, Bands, Plausibility
from lockstep.live.quarantine import ACCEPT, REJECT, Quarantine
from lockstep.market.bar_rules import broken_rule
from lockstep.market.bars import BAR_COLUMNS, value_violations
from lockstep.market.history import SeriesKey
from lockstep.market.timetable import Timetable
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


TRADED = frozenset({HOUR_SPY, COMP})


def synchroniser(grace: int = GRACE, kind: type[Synchroniser] = Synchroniser) -> Synchroniser:
    return kind(Timetable(KEYS), grace_ns=grace, traded=TRADED, known=KNOWN)


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
    assert not {key for key, _ in late} & made._traded, "a traded bar came late"
    delivered = Counter([(key, release.stamp) for release in releases for key in release.bars] + late)
    assert not delivered or max(delivered.values()) == 1, "delivered twice"
    reports = [each for release in releases for each in release.irregularities] + list(made.take_reports())
    refused = Counter((each.key, each.end) for each in reports if each.kind in REFUSED)
    pending = set(made._late)
    for bar, count in Counter((each.key, each.end) for each in arrivals).items():
        assert delivered[bar] + refused[bar] + (bar in pending) == count, f"{bar} was lost"
    return releases


REFUSED = ("duplicate", "corrected", "out_of_order", "bad", "implausible")
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


# ---- the band: what the operator did not accept is not released


BAND = Plausibility(percent=5.0, atr=4.0, bars=5, agree=2)
CALM = {key: [(BEFORE - i * 24 * HOUR, flat()) for i in range(9, -1, -1)] for key in KEYS}
FACTORS = (1.0, 1.01, 0.97, 1.06, 0.94, 1.1, 1.3, 0.7, 10.0, 0.0, -1.0)
Step = tuple[tuple[SeriesKey, int], int, float, str]
steps = st.lists(
    st.tuples(
        st.sampled_from(bars()),
        st.sampled_from([0, 1, GRACE - 1, GRACE + 1, HOUR]),
        st.sampled_from(FACTORS),
        st.sampled_from(["", "", "", ACCEPT, REJECT]),
    ),
    max_size=40,
)


class Banded:
    """A synchroniser with a band, an operator, and what a journal would hold."""

    def __init__(self, kind: type[Synchroniser] = Synchroniser) -> None:
        self._kind = kind
        self.known: dict[SeriesKey, list[tuple[int, Values]]] = {
            key: list(bars) for key, bars in CALM.items()
        }
        self.made = self._make()
        self.told = Quarantine()
        self.arrivals: list[Arrival] = []
        self.releases: list[Release] = []
        self.reports: list[Irregularity] = []
        self.accepted: set[tuple[SeriesKey, int]] = set()

    def _make(self) -> Synchroniser:
        return self._kind(Timetable(KEYS), grace_ns=GRACE, traded=TRADED, known=self.known, bands=Bands(BAND))

    def take(self, each: Arrival, decision: str) -> None:
        """Offer a bar, release at its time, then let the operator decide about what has waited longest."""
        self.arrivals.append(each)
        self.made.offer(each)
        self.drain(each.received)
        waiting = self.told.waiting
        if decision and waiting:
            first = waiting[0]
            self.told.decide(first.key, first.end, decision)
            self.made.decide(first.key, first.end, decision)
            self.accepted |= {(first.key, first.end)} if decision == ACCEPT else set()
            self.drain(each.received)

    def drain(self, now: int) -> None:
        for release in drained(self.made, now):
            self.releases.append(release)
            self.told.released(release)
            self.reports += release.irregularities
            for late in release.late:
                self.known[late.key].append((late.end, late.values))
            for key, values in release.bars.items():
                self.known[key].append((release.stamp, values))
        rest = self.made.take_reports()
        self.reports += rest
        for each in rest:
            self.told.note(each)

    def restart(self, now: int) -> None:
        """Begin anew with what is journaled."""
        self.made = self._make()
        self.made.restore(self.told, now)


def run_of(drawn: Sequence[Step], kind: type[Synchroniser] = Synchroniser, restart: int = -1) -> Banded:
    desk, price = Banded(kind), dict.fromkeys(KEYS, 100.0)
    rows = []
    for (key, end), delay, factor, decision in drawn:
        price[key] = price[key] * factor if 0.5 < factor < 2.0 else price[key]
        level = price[key] if 0.5 < factor < 2.0 else 100.0 * factor
        rows.append((arrival(key, end, delay=delay, price=level), decision))
    for number, (each, decision) in enumerate(sorted(rows, key=lambda row: row[0].received)):
        desk.take(each, decision)
        if number >= restart >= 0 and not (desk.made._waiting or desk.made._late):
            desk.restart(each.received)
            restart = -1
    desk.drain(END_OF_TIME)
    return desk


def width(past: Sequence[tuple[int, Values]], key: SeriesKey, end: int) -> float:
    """The band as the documents tell it, worked out anew; without what narrows it further."""
    closes = [values[3] for _, values in past]
    ranges = [past[0][1][1] - past[0][1][2]] + [
        max(values[1], before) - min(values[2], before)
        for (_, values), before in zip(past[1:], closes[:-1], strict=True)
    ]
    length = 24 * HOUR if key.timeframe.is_session else HOUR
    elapsed = end - past[-1][0]
    percent = BAND.percent / 100 * np.abs(closes[-BAND.bars :]).max() * max(elapsed / (24 * HOUR), 1) ** 0.5
    return float(max(percent, BAND.atr * np.mean(ranges[-BAND.bars :]) * max(elapsed / length, 1) ** 0.5))


def check_band(desk: Banded) -> None:
    """Every bar ends once, and what was released is inside of the band or follows from what was accepted."""
    implausible = Counter(
        (each.key, each.end, each.values) for each in desk.reports if each.kind == "implausible"
    )
    came = Counter((each.key, each.end, each.values) for each in desk.arrivals)
    repeated = Counter((each.key, each.end, each.values) for each in desk.reports if each.kind in REFUSED)
    followed: Counter[tuple[SeriesKey, int]] = Counter()
    for key, delivered in desk.known.items():
        for number in range(len(CALM[key]), len(delivered)):
            end, values = delivered[number]
            past = delivered[:number]
            assert end > past[-1][0], "out of order"
            if implausible[key, end, values] and came[key, end, values] == repeated[key, end, values]:
                said = [stamp for series, stamp in desk.accepted if series == key and stamp <= end]
                assert said, f"{key} {end} was quarantined, not accepted, and released"
                followed[key, end] += 1
                continue
            allowed = width(past, key, end) * (1 + 1e-9)
            assert max(abs(price - past[-1][1][3]) for price in values[:4]) <= allowed, "implausible"
    refused = Counter((each.key, each.end) for each in desk.reports if each.kind in REFUSED)
    delivered_once = Counter(
        (key, end) for key, rows in desk.known.items() for end, _ in rows[len(CALM[key]) :]
    )
    assert not delivered_once or max(delivered_once.values()) == 1, "delivered twice"
    assert all(release.bars for release in desk.releases), "an empty set"
    open_ = Counter(
        [*desk.made._late, *((key, end) for end, there in desk.made._waiting.items() for key in there)]
    )
    for bar, count in Counter((each.key, each.end) for each in desk.arrivals).items():
        ends = delivered_once[bar] + refused[bar] + open_[bar] - followed[bar]
        ends -= bool(open_[bar] and bar in desk.made._accepted)
        assert ends == count, f"{bar} was lost or counted twice"


@settings(max_examples=150, deadline=None)
@given(steps)
def test_what_is_released_is_plausible_or_accepted_and_every_bar_ends_once(drawn: list[Step]) -> None:
    check_band(run_of(drawn))


@settings(max_examples=100, deadline=None)
@given(steps, st.integers(0, 30))
def test_a_restart_judges_as_the_engine_that_went_on(drawn: list[Step], restart: int) -> None:
    """Reference, ATR, quarantine and decisions follow from what is journaled."""
    whole, pieces = run_of(drawn), run_of(drawn, restart=restart)
    assert pieces.known == whole.known
    assert list(pieces.told) == list(whole.told)
    assert bar_sets(pieces.releases) == bar_sets(whole.releases)


class Unjudged(Synchroniser):
    """PARITY 39: releases whatever breaks no rule of bars."""

    def _fault(self, key: SeriesKey, end: int, values: Values, after: object) -> str:
        return ""


class Persuaded(Synchroniser):
    """Accepts by itself what has agreed with itself often enough."""

    def _note(self, irregularity: Irregularity) -> None:
        super()._note(irregularity)
        if AGREE in irregularity.detail:
            self.decide(irregularity.key, irregularity.end, ACCEPT)


class Swallowing(Synchroniser):
    """Quarantines without a word."""

    def _note(self, irregularity: Irregularity) -> None:
        if irregularity.kind != "implausible":
            super()._note(irregularity)


MOVE: list[Step] = [
    ((COMP, DAYS[0]), 0, 1.3, ""),
    ((SPX, DAYS[0]), 0, 1.0, ""),
    ((COMP, DAYS[1]), 0, 1.01, ""),
    ((SPX, DAYS[1]), 0, 1.0, ""),
]


@pytest.mark.parametrize("kind", [Unjudged, Persuaded, Swallowing])
def test_mutant_of_the_band_is_caught(kind: type[Synchroniser]) -> None:
    check_band(run_of(MOVE))
    with pytest.raises(AssertionError, match=r"implausible|not accepted|lost"):
        check_band(run_of(MOVE, kind))


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
