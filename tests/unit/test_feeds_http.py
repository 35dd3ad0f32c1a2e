"""The port: who is let in, what is taken, and when 200 is said. Real requests on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import ConfigError, FeedError, LiveError
from lockstep.live.feeds.bar_maker import Stream
from lockstep.live.feeds.http import HttpFeed
from lockstep.live.feeds.inbox import Inbox, Item
from lockstep.live.feeds.intake import PostedBar, PostedTick, parse_posts
from lockstep.live.feeds.synchroniser import SECOND
from lockstep.live.messages import Arrival
from lockstep.live.secret import VARIABLE, authorised, read_token
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.secrets import Secrets
from support.feeds import (
    COMP,
    HOUR_SPY,
    QUARTER_6E,
    TOKEN,
    ManualClock,
    closes,
    flat,
    minute_ends,
    posted,
    request,
)
from support.markets import CME, FIFTEEN, NYSE, ONE_MINUTE

MONDAY, TUESDAY, WEDNESDAY = closes("2018-12-10", "2018-12-11", "2018-12-12")
MINUTES_6E = SeriesKey("6E", ONE_MINUTE)
STREAMS = (
    Stream(symbol="COMP", base=DAILY, timeframes=(DAILY,), session=NYSE),
    Stream(symbol="6E", base=ONE_MINUTE, timeframes=(FIFTEEN,), session=CME, settle_ns=SECOND),
    Stream(symbol="6E", base=None, timeframes=(ONE_MINUTE,), session=CME),
)


class Desk:
    """A port with an engine behind it that journals everything at once, or nothing while it is `deaf`."""

    def __init__(
        self, *, capacity: int = 64, patience: float = 5.0, interval: float = 60.0, limit: int = 1 << 20
    ):
        self.inbox = Inbox(capacity)
        self.taken: list[Item] = []
        self.journal: dict[tuple[SeriesKey, int], Any] = {}
        self.clock = ManualClock(WEDNESDAY)
        self.feed = HttpFeed(
            STREAMS, token=TOKEN, clock=self.clock, patience=patience, interval=interval, limit=limit
        )
        self.deaf = threading.Event()
        self._thread = threading.Thread(target=self._journal)

    def __enter__(self) -> Desk:
        self.feed.start(self.inbox, {COMP: MONDAY})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.inbox.close()
        self._thread.join()
        self.feed.stop()

    def _journal(self) -> None:
        while items := self.inbox.get(10):
            self.taken += items
            if not self.deaf.is_set():
                self.answer()

    def answer(self) -> None:
        for item in self.taken:
            if isinstance(item, Arrival) and item.end > MONDAY:
                self.journal.setdefault((item.key, item.end), item.values)
        self.inbox.settle(self._outcome)

    def _outcome(self, bar: Arrival) -> str | None:
        known = self.journal.get((bar.key, bar.end))
        return "refused" if known is None else "released" if known == bar.values else "corrected"

    def post(self, content: object, path: str = "/bars", **more: Any) -> tuple[int, dict[str, Any]]:
        return self.ask("POST", path, content, **more)[:2]

    def insist(self, content: object) -> int:
        """Post the same again until it is not refused for want of time."""
        while (status := self.post(content)[0]) == 503:
            pass
        return status

    def ask(self, *arguments: Any, **more: Any) -> tuple[int, dict[str, Any], Mapping[str, str]]:
        return request(self.feed.address, *arguments, **more)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with Desk() as made:
        yield made


def counts(**found: int) -> dict[str, int]:
    return {"accepted": 0, "duplicate": 0, "corrected": 0, "refused": 0, "held": 0, **found}


def bar(stamp: int = TUESDAY, price: float = 100.0, **changes: Any) -> dict[str, Any]:
    return {**posted(COMP, stamp, flat(price)), **changes}


def minutes(first: int, last: int) -> list[dict[str, Any]]:
    return [posted(MINUTES_6E, end, flat()) for end in minute_ends("2018-12-11 10:01", last)[first:]]


def tick(second: int, sequence: int) -> dict[str, Any]:
    stamp = f"2018-12-11T10:{second // 60:02}:{second % 60:02}-05:00"
    return {"symbol": "6E", "stamp": stamp, "price": 1.5, "volume": 2, "sequence": sequence}


def test_a_bar_is_journaled_before_the_answer_and_known_afterwards(desk: Desk) -> None:
    assert desk.post(bar()) == (200, counts(accepted=1))
    assert desk.taken == [Arrival(COMP, TUESDAY, flat(), WEDNESDAY, "http")]
    assert desk.post([bar(), bar(WEDNESDAY)]) == (200, counts(duplicate=1, accepted=1))
    assert desk.post(bar(price=7.0)) == (200, counts(corrected=1))
    assert desk.post(bar(MONDAY)) == (200, counts(refused=1))


def test_the_newest_journaled_stamps_can_be_asked(desk: Desk) -> None:
    assert desk.ask("GET", "/bars/last")[:2] == (200, {"COMP:1d": "2018-12-10T21:00:00.000000000Z"})
    desk.post(bar())
    assert desk.ask("GET", "/bars/last")[1] == {"COMP:1d": "2018-12-11T21:00:00.000000000Z"}


def test_minutes_are_held_until_their_bar_is_complete(desk: Desk) -> None:
    assert desk.post(minutes(0, 14)) == (202, counts(held=14))
    assert desk.taken == []
    assert desk.post(minutes(13, 15)) == (200, counts(duplicate=1, accepted=1))
    assert [item.key for item in desk.taken if isinstance(item, Arrival)] == [QUARTER_6E]
    changed = [{**minutes(15, 16)[0]}, {**minutes(14, 15)[0], "volume": 5}]
    assert desk.post(changed) == (202, counts(held=1, refused=1))


def test_the_clock_completes_a_bar() -> None:
    with Desk(interval=0.01) as quick:
        end = minute_ends("2018-12-11 10:15", 1)[0]
        quick.clock.now = end
        quick.post(minutes(0, 14))
        quick.clock.now = end + SECOND
        while quick.ask("GET", "/bars/last")[1].get("6E:15min") is None:
            quick.post(bar())
        assert (QUARTER_6E, end) in quick.journal


def test_ticks_are_known_by_their_sequence(desk: Desk) -> None:
    first = [tick(10, 1), tick(70, 2), tick(80, 3)]
    assert desk.post(first, "/ticks") == (202, counts(held=2))
    assert desk.post([*first, tick(130, 4)], "/ticks") == (202, counts(duplicate=3, held=1, accepted=1))
    (made,) = (item for item in desk.taken if isinstance(item, Arrival))
    assert (made.key, made.values) == (MINUTES_6E, (1.5, 1.5, 1.5, 1.5, 4.0))


def test_without_the_token_nothing_is_taken(desk: Desk) -> None:
    for token in (None, "another-token-altogether", TOKEN + "x", ""):
        status, answer, headers = desk.ask("POST", "/bars", bar(), token=token)
        assert (status, answer) == (401, {"error": "a token is needed"})
        assert headers["WWW-Authenticate"] == "Bearer"
    assert desk.ask("GET", "/bars/last", token=None)[0] == 401
    assert desk.taken == []


WRONG = {
    "not JSON": (b"{nonsense", "is no JSON that can be used"),
    "not text": (b"\xff\xfe", "is no JSON that can be used"),
    "deep": (b"[" * 100_000, "is no JSON that can be used"),
    "NaN": (b'{"open": NaN}', "NaN is no number"),
    "infinite": (bar(high=10**400), "entry 1: high"),
    "overflowing": (b'{"open": 1e999}', "1e999 is no finite number"),
    "5,000 digits": (b'{"open": ' + b"7" * 5_000 + b"}", "thousands of digits"),
    "a key twice": (b'{"open": 1, "open": 2}', "key 'open' occurs twice"),
    "deeper than ours": (b"[" * 50 + b"]" * 50, "levels of lists"),
    "empty": ([], "an empty list"),
    "a number": (7, "entry 1: 7: expected a mapping"),
    "unknown field": (bar(colour="red"), "entry 1: unknown key 'colour'"),
    "misspelled": ({**bar(), "hihg": 1}, "did you mean 'high'?"),
    "missing field": ([bar(), {"symbol": "COMP"}], "entry 2: key 'timeframe' is missing"),
    "text for a number": (bar(open="100"), "entry 1: open '100'"),
    "a truth for a number": (bar(open=True), "entry 1: open true"),
    "naive stamp": (bar(end="2018-12-11T16:00:00"), "entry 1: end"),
    "number for a stamp": (bar(end=1_544_562_000), "write it as text"),
    "far stamp": (bar(end="9999-12-31T16:00:00Z"), "from 2000 to 2249"),
    "wrong symbol": (bar(symbol="COMPX"), "did you mean 'COMP:1d'?"),
    "wrong timeframe": (bar(timeframe="1h"), "COMP:1h: no such series is taken here"),
    "from the future": (bar(WEDNESDAY + 86_400 * SECOND), "is later than our clock"),
    "off the grid": (bar(end="2018-12-11T15:59:00-05:00"), "no bar of COMP:1d ends then"),
    "high below low": (bar(high=1.0), "high must be >= low"),
    "negative volume": (bar(volume=-1), "volume must be >= 0"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_taken(desk: Desk, name: str) -> None:
    content, rule = WRONG[name]
    status, answer = desk.post(content)
    assert status == 400
    assert rule in answer["error"]
    assert "\n" not in answer["error"]
    assert desk.taken == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"sequence": 1}, "must rise within a post"),
        ({"symbol": "ES"}, "ES:tick: no such series"),
        ({"volume": -1}, "volume"),
        ({"sequence": 1.5}, "sequence"),
        ({"stamp": "2100-01-01T00:00:00Z"}, "is later than our clock"),
    ],
    ids=["sequence falls", "symbol", "volume", "fraction", "future"],
)
def test_wrong_ticks_are_refused_in_whole(desk: Desk, changes: dict[str, Any], rule: str) -> None:
    status, answer = desk.post([tick(10, 1), {**tick(20, 2), **changes}], "/ticks")
    assert status == 400
    assert rule in answer["error"]
    assert desk.post([tick(10, 1)], "/ticks") == (202, counts(held=1)), "nothing was taken before"


def test_other_requests_are_refused(desk: Desk) -> None:
    assert desk.post(bar(), "/orders")[0] == 404
    assert desk.ask("GET", "/bars")[0] == 404
    assert desk.post(bar(), headers={"Content-Length": "many"})[0] == 411
    with Desk(limit=100) as small:
        status, answer = small.post(bar())
        assert (status, answer["error"].partition(": ")[2]) == (413, "at most 100; post fewer at once")


def test_while_the_engine_is_silent_nobody_is_told_200() -> None:
    """A retry waits for the bar that the first post left behind."""
    with Desk(patience=0.05) as slow:
        slow.deaf.set()
        status, answer, headers = slow.ask("POST", "/bars", bar())
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "retry the same request" in answer["error"]
        assert slow.post(minutes(0, 15))[0] == 503
        assert slow.post(minutes(0, 15))[0] == 503, "all rows are known, and their bar is not journaled"
        slow.deaf.clear()
        assert slow.insist(bar()) == 200
        assert slow.insist(minutes(0, 15)) == 200
        assert {COMP, QUARTER_6E} == {key for key, _ in slow.journal}


def test_a_full_inbox_keeps_what_was_made_for_the_next_post() -> None:
    inbox = Inbox(capacity=1)
    feed = HttpFeed(STREAMS, token=TOKEN, clock=ManualClock(WEDNESDAY), patience=0.02)
    feed.start(inbox, {})
    inbox.put([Arrival(COMP, MONDAY, flat(), MONDAY, "other")])
    assert request(feed.address, "POST", "/bars", minutes(0, 15))[0] == 503
    inbox.get(0)
    assert request(feed.address, "POST", "/bars", minutes(0, 15))[0] == 503
    (item,) = (each for each in inbox.get(0) if isinstance(each, Arrival))
    assert item.key == QUARTER_6E
    inbox.settle(lambda _: "released")
    assert request(feed.address, "POST", "/bars", minutes(0, 15))[0] == 200
    inbox.close()
    assert request(feed.address, "POST", "/bars", bar())[0] == 503
    feed.stop()


def test_a_sender_that_finds_another_at_the_door_too_long_is_told_to_come_again() -> None:
    with Desk(patience=0.02) as desk:
        intake = desk.feed._listening().intake
        with intake._lock:
            assert desk.post(bar())[0] == 503
            assert desk.taken == []
        assert desk.insist(bar()) == 200


def test_a_bar_that_is_refused_is_not_the_newest(desk: Desk) -> None:
    desk.post(bar(MONDAY))
    desk.post(bar())
    assert desk.ask("GET", "/bars/last")[1] == {"COMP:1d": "2018-12-11T21:00:00.000000000Z"}


def test_two_senders_are_answered_at_the_same_time() -> None:
    """One waits for the engine; the other's post is taken meanwhile."""
    inbox = Inbox()
    feed = HttpFeed(STREAMS, token=TOKEN, clock=ManualClock(WEDNESDAY))
    feed.start(inbox, {})
    found: list[int] = []

    def send(content: object) -> None:
        found.append(request(feed.address, "POST", "/bars", content)[0])

    senders = [threading.Thread(target=send, args=(each,)) for each in (bar(), minutes(0, 15))]
    taken: list[Item] = []
    for sender in senders:
        sender.start()
        taken += inbox.get(5)
    inbox.settle(lambda _: "released")
    for sender in senders:
        sender.join()
    assert (len(taken), found) == (2, [200, 200])
    inbox.close()
    feed.stop()


def test_a_sender_that_goes_away_harms_nobody(desk: Desk) -> None:
    with socket.create_connection(desk.feed.address) as connection:
        connection.sendall(b"POST /bars HTTP/1.1\r\nContent-Length: 10\r\n")
    assert desk.post(bar())[0] == 200


def test_a_port_in_use_and_a_feed_that_was_not_started(desk: Desk) -> None:
    other = HttpFeed(STREAMS, token=TOKEN, clock=ManualClock(), port=desk.feed.address[1])
    with pytest.raises(FeedError, match="not started"):
        other.address  # noqa: B018
    with pytest.raises(FeedError, match="choose another port"):
        other.start(Inbox(), {})
    other.stop()
    assert desk.feed.failure is None
    assert desk.feed.keys == {COMP, QUARTER_6E, MINUTES_6E}


def test_two_streams_of_the_same_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="COMP:1d is declared twice"):
        HttpFeed([STREAMS[0], STREAMS[0]], token=TOKEN, clock=ManualClock())


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    known = Secrets({VARIABLE: TOKEN})
    assert read_token(file, Secrets({}).read) == read_token(None, known.read) == TOKEN
    assert known.scrub(f"Bearer {TOKEN}") == "Bearer [secret]"
    with pytest.raises(LiveError, match=VARIABLE):
        read_token(None, Secrets({}).read)
    for weak in ("fifteen-letters", "ümlaute-sind-hier-nicht"):
        with pytest.raises(FeedError, match="16 visible ASCII characters"):
            read_token(None, Secrets({VARIABLE: weak}).read)
    for weak in ("short", "with a blank in its middle"):
        with pytest.raises(LiveError, match=r"^token of the http feed: "):
            read_token(None, Secrets({VARIABLE: weak}).read)


def test_only_the_exact_token_is_let_in() -> None:
    assert authorised(f"Bearer {TOKEN}", TOKEN)
    for header in (None, "", TOKEN, f"bearer {TOKEN}", f"Bearer {TOKEN} ", "Bearer ü"):
        assert not authorised(header, TOKEN)


def test_posts_are_read_one_or_many() -> None:
    body = b'[{"symbol":"6E","stamp":"2018-12-11T10:00:00.5Z","price":1,"volume":0,"sequence":0}]'
    assert [post.price for post in parse_posts(PostedTick, body)] == [1.0]
    with pytest.raises(ConfigError, match="entry 1: key 'open' is missing"):
        parse_posts(PostedBar, b'{"symbol":"6E","timeframe":"1d","end":"2018-12-11T10:00:00Z"}')


def test_series_that_nobody_posts_are_not_claimed() -> None:
    assert HOUR_SPY not in HttpFeed(STREAMS, token=TOKEN, clock=ManualClock()).keys
