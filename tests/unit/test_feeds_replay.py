"""History as a feed: order, pace, what was journaled before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lockstep.errors import ConfigError
from lockstep.live.feeds.inbox import Inbox
from lockstep.live.feeds.protocol import LiveFeed
from lockstep.live.feeds.replay import ReplayFeed, arrivals_of
from lockstep.live.messages import Arrival
from lockstep.market.history import History
from support.feeds import COMP, PAIR, SPX, closes, series

DAYS = closes("2018-12-10", "2018-12-11", "2018-12-12")
HISTORY = History(bars={COMP: series(COMP, DAYS), SPX: series(SPX, DAYS[1:])}, markets={})


def collected(feed: LiveFeed, after: dict[object, int] | None = None) -> list[Arrival]:
    inbox, found = Inbox(capacity=1), []
    feed.start(inbox, after or {})  # type: ignore[arg-type]
    while not (feed.finished and not len(inbox)):
        found += inbox.get(5)
    feed.stop()
    assert feed.failure is None
    return found  # type: ignore[return-value]


def test_bars_come_in_the_order_of_their_ends() -> None:
    found = collected(ReplayFeed.of(HISTORY))
    assert [(each.key, each.end) for each in found] == [
        (COMP, DAYS[0]), (COMP, DAYS[1]), (SPX, DAYS[1]), (COMP, DAYS[2]), (SPX, DAYS[2]),
    ]  # fmt: skip
    assert all(each.received == each.end and each.origin == "replay" for each in found)
    assert ReplayFeed.of(HISTORY).keys == PAIR.keys


def test_what_was_journaled_is_left_out() -> None:
    found = collected(ReplayFeed.of(HISTORY), {COMP: DAYS[1], SPX: DAYS[1]})
    assert {each.end for each in found} == {DAYS[2]}


def test_pace_changes_neither_values_nor_times() -> None:
    assert collected(ReplayFeed.of(HISTORY, speed=1e7)) == list(arrivals_of(HISTORY))


def test_a_stop_does_not_wait_for_the_next_bar() -> None:
    inbox = Inbox()
    feed = ReplayFeed.of(HISTORY, speed=1.0)
    feed.start(inbox, {})
    assert [each.end for each in inbox.get(5) if isinstance(each, Arrival)] == [DAYS[0]]
    feed.stop()
    assert (feed.finished, feed.failure) == (False, None)


def test_an_engine_that_stops_reading_ends_the_feed() -> None:
    inbox = Inbox(capacity=1)
    feed = ReplayFeed.of(replace(HISTORY))
    feed.start(inbox, {})
    inbox.close()
    feed.stop()
    assert feed.failure is None


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        ReplayFeed.of(HISTORY, speed=speed)
