"""A growing file: half lines, replaced files, bad lines, restarts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import ConfigError, FeedError
from lockstep.live.feeds.bar_maker import Stream
from lockstep.live.feeds.inbox import Inbox, Item
from lockstep.live.feeds.synchroniser import SECOND
from lockstep.live.feeds.tail import LONGEST_LINE, GrowingFile, TailFeed
from lockstep.live.messages import Arrival, Irregularity
from lockstep.market.source import Source
from lockstep.market.timeframe import DAILY, Timeframe
from support.feeds import DAY_SPY, HOUR_SPY, QUARTER_6E, ManualClock
from support.markets import CME, FIFTEEN, HOURLY, NEW_YORK, NYSE, ONE_MINUTE, utc

HEADER = "datetime,open,high,low,close,volume\n"


def declared(timeframe: Timeframe | None, stamp: str, timezone: str = "UTC") -> Source:
    values = {"name": "bars", "folder": "x", "session": "NYSE", "adjustment": "none"}
    return Source.model_validate(
        {**values, "timeframe": timeframe or "tick", "stamp": stamp, "timezone": timezone}
    )


HOURS = declared(HOURLY, "open", NEW_YORK)
SPY = Stream(symbol="SPY", base=HOURLY, timeframes=(HOURLY, DAILY), session=NYSE)


def line(hour: int, close: float = 100.5, day: str = "2018-12-11") -> str:
    return f"{day} {hour:02}:00,100,101,100,{close},7\n"


def end_of(hour: int, day: str = "2018-12-11") -> int:
    return utc(f"{day} {hour + 1:02}:00", NEW_YORK)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "SPY_bt.csv"


@pytest.fixture
def feed(path: Path) -> Iterator[TailFeed]:
    made = TailFeed(path, SPY, HOURS, clock=ManualClock(end_of(15)))
    yield made
    made.stop()


def append(path: Path, text: str | bytes) -> None:
    with path.open("ab") as handle:
        handle.write(text.encode() if isinstance(text, str) else text)


def polled(feed: TailFeed) -> list[Item]:
    return [item for some in iter(feed.poll, None) for item in some]


def ends(items: list[Item], key: object = HOUR_SPY) -> list[int]:
    return [item.end for item in items if isinstance(item, Arrival) and item.key == key]


def reports(items: list[Item]) -> list[Irregularity]:
    return [item for item in items if isinstance(item, Irregularity)]


def test_a_line_is_delivered_when_its_newline_is_there(feed: TailFeed, path: Path) -> None:
    assert feed.poll() is None, "no file yet"
    append(path, HEADER[:10])
    assert feed.poll() is None
    append(path, HEADER[10:] + line(9)[:-1])
    assert feed.poll() is None
    append(path, "\n")
    (item,) = polled(feed)
    assert item == Arrival(HOUR_SPY, end_of(9), (100, 101, 100, 100.5, 7), end_of(15), "tail SPY_bt.csv")
    assert feed.poll() is None


def test_a_bad_line_is_reported_with_its_number_and_the_others_come(feed: TailFeed, path: Path) -> None:
    append(path, HEADER + line(9) + line(10, close=999) + "2018-12-11 11:00,1,2\n\n" + "nonsense,1,2,0,1,1\n")
    append(path, b"2018-12-11 13:00,\xff,101,100,100,7\n" + line(14).encode())
    items = polled(feed)
    assert ends(items) == [end_of(9), end_of(14)]
    found = reports(items)
    assert [each.kind for each in found] == ["bad"] * 4
    assert [each.detail.split(":")[1] for each in found] == ["3", "4", "6", "7"]
    assert "close must be <= high" in found[0].detail
    append(path, "oops\n")
    (last,) = reports(polled(feed))
    assert f"{path}:9: 1 columns" in last.detail


def test_a_rename_is_followed_after_the_old_file_is_read(feed: TailFeed, path: Path) -> None:
    append(path, HEADER + line(9))
    polled(feed)
    append(path, line(10))
    old = path.rename(path.with_suffix(".old"))
    assert ends(polled(feed)) == [end_of(10)]
    assert feed.poll() is None, "gone, and the new one is not there yet"
    append(path, HEADER + line(10) + line(11))
    append(old, line(12)[:5])
    items = polled(feed) + polled(feed)
    assert ends(items) == [end_of(11)], "what the new file repeats is no news"
    assert "unfinished line" in reports(items)[0].detail


@pytest.mark.parametrize("longer", [False, True], ids=["shorter", "longer"])
def test_a_file_that_is_written_anew_is_read_from_its_start(feed: TailFeed, path: Path, longer: bool) -> None:
    append(path, HEADER + line(9) + line(10))
    polled(feed)
    path.write_text(HEADER + (line(9, 100.25) + line(10, 100.25)) * longer + line(11))
    items = polled(feed)
    assert (ends(items), reports(items)) == ([end_of(11)], [])


def test_a_file_that_is_emptied_in_the_middle_of_a_line(feed: TailFeed, path: Path) -> None:
    append(path, HEADER + line(9) + line(10)[:7])
    polled(feed)
    path.write_text("")
    (report,) = polled(feed)
    assert isinstance(report, Irregularity)
    assert ":3: unfinished line" in report.detail
    append(path, HEADER + line(10))
    assert ends(polled(feed)) == [end_of(10)]


def test_blank_lines_are_nothing(feed: TailFeed, path: Path) -> None:
    append(path, HEADER + "\n\n")
    assert polled(feed) == []
    append(path, line(9))
    assert ends(polled(feed)) == [end_of(9)]


def test_an_appended_correction_reaches_the_synchroniser(feed: TailFeed, path: Path) -> None:
    append(path, HEADER + line(9) + line(10))
    polled(feed)
    append(path, line(9, 100.75))
    (item,) = polled(feed)
    assert isinstance(item, Arrival)
    assert (item.end, item.values[3]) == (end_of(9), 100.75)


def test_the_day_is_made_of_its_hours(feed: TailFeed, path: Path) -> None:
    append(path, HEADER + "".join(line(hour) for hour in range(9, 15)))
    assert ends(polled(feed), DAY_SPY) == []
    append(path, line(15))
    items = polled(feed)
    assert ends(items, DAY_SPY) == ends(items, HOUR_SPY) == [end_of(15)]


def test_after_a_restart_only_what_is_new_comes(path: Path) -> None:
    """The rows of the running day are read again, so that its bar is whole; old bad lines are no news."""
    append(path, HEADER + "garbage\n" + "".join(line(hour) for hour in range(9, 13)) + "more garbage\n")
    feed, inbox = TailFeed(path, SPY, HOURS, clock=ManualClock(end_of(15)), interval=0.01), Inbox()
    before = utc("2018-12-10 16:00", NEW_YORK)
    feed.start(inbox, {HOUR_SPY: end_of(11), DAY_SPY: before})
    items = inbox.get(5)
    assert ends(items) == [end_of(12)]
    append(path, "".join(line(hour) for hour in range(13, 16)))
    found: list[Item] = []
    while not ends(found, DAY_SPY):
        found += inbox.get(5)
    assert ends(found, DAY_SPY) == [end_of(15)]
    assert len(reports(items)) + len(reports(found)) == 2
    inbox.close()
    feed.stop()
    assert (feed.finished, feed.failure) == (False, None)


def test_the_clock_completes_a_bar_of_a_quiet_file(path: Path) -> None:
    stream = Stream(symbol="6E", base=ONE_MINUTE, timeframes=(FIFTEEN,), session=CME, settle_ns=SECOND)
    clock = ManualClock(utc("2018-12-11 15:01"))
    feed = TailFeed(path, stream, declared(ONE_MINUTE, "close"), clock=clock)
    append(path, HEADER + "2018-12-11 15:01,1,1,1,1,1\n")
    assert polled(feed) == []
    clock.now = utc("2018-12-11 15:15") + SECOND
    (item,) = feed.poll() or []
    assert (item.key, item.end) == (QUARTER_6E, utc("2018-12-11 15:15"))
    feed.stop()


def test_ticks_make_bars(path: Path) -> None:
    stream = Stream(symbol="6E", base=None, timeframes=(ONE_MINUTE,), session=CME)
    feed = TailFeed(path, stream, declared(None, "trade"), clock=ManualClock(utc("2018-12-11 15:05")))
    append(path, "datetime,price,size\n2018-12-11 15:00:10,1.5,1\n2018-12-11 15:01:10,1.25,2\n")
    append(path, "2018-12-11 15:01:50,1.75,1\n2018-12-11 15:02:00,2,x\n2018-12-11 15:02:01,2,1\n")
    items = polled(feed)
    (bar,) = (item for item in items if isinstance(item, Arrival))
    assert (bar.end, bar.values) == (utc("2018-12-11 15:02"), (1.25, 1.75, 1.25, 1.75, 3.0))
    assert [each.kind for each in reports(items)] == ["bad", "bad"]
    feed.stop()


def test_an_hour_that_occurs_twice_is_refused_and_not_guessed(path: Path) -> None:
    """PARITY 10: a single stamp of the repeated hour says nothing; the file in one piece may."""
    local = declared(ONE_MINUTE, "close", NEW_YORK)
    stream = Stream(symbol="6E", base=ONE_MINUTE, timeframes=(ONE_MINUTE,), session=CME)
    feed = TailFeed(path, stream, local, clock=ManualClock(utc("2018-11-05 00:00")))
    append(path, HEADER + "2018-11-04 01:30:00,1,1,1,1,1\n")
    (item,) = polled(feed)
    assert isinstance(item, Irregularity)
    assert "occurs twice" in item.detail
    feed.stop()


def test_a_file_without_the_columns_ends_the_feed_visibly(path: Path) -> None:
    append(path, "datetime,open,high,low,volume\n2018-12-11 10:00,1,1,1,1\n")
    feed = TailFeed(path, SPY, HOURS, clock=ManualClock(end_of(9)), interval=0.01)
    feed.start(Inbox(), {})
    feed._worker._thread.join(5)
    assert "column close is missing" in (feed.failure or "")
    feed.stop()


def test_a_folder_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="cannot be read; check path and permissions"):
        GrowingFile(tmp_path).read()


def test_a_stream_of_another_timeframe_is_refused(path: Path) -> None:
    minutes = Stream(symbol="SPY", base=Timeframe.parse("1min"), timeframes=(HOURLY,), session=NYSE)
    with pytest.raises(ConfigError, match="source bars holds 1h, and the stream is SPY:1min"):
        TailFeed(path, minutes, HOURS, clock=ManualClock())


def test_long_files_come_in_pieces(path: Path) -> None:
    append(path, "a\n" + "".join(f"{i}\n" for i in range(100_000)))
    growing, found, first = GrowingFile(path), [], []
    while (chunk := growing.read()) is not None:
        header, *lines = chunk.text.split()
        assert header == b"a"
        first.append(chunk.first_line == len(found) + 2)
        found += lines
    growing.close()
    assert found == [str(i).encode() for i in range(100_000)]
    assert all(first)
    assert len(first) > 1


@pytest.mark.parametrize("pieces", [1, 40])
def test_a_line_of_three_megabytes_is_reported_and_the_others_come(
    feed: TailFeed, path: Path, pieces: int
) -> None:
    append(path, HEADER + line(9))
    items = polled(feed)
    for _ in range(pieces):
        append(path, b"7" * (3_000_000 // pieces))
        items += polled(feed)
        assert len(feed._file._partial) <= LONGEST_LINE
    append(path, "\n" + line(10) + "oops\n")
    items += polled(feed)
    assert ends(items) == [end_of(9), end_of(10)]
    assert [each.detail.split(":")[1] for each in reports(items)] == ["3", "5"]
    assert "longer than" in reports(items)[0].detail


def test_a_first_line_without_end_is_no_header(feed: TailFeed, path: Path) -> None:
    append(path, b"x" * 100_000 + b"\n")
    with pytest.raises(FeedError, match="first line has more than"):
        polled(feed)


@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(st.binary(max_size=60) | st.sampled_from([line(9).encode()[:-1], b'"', b"\x00", b"\r"]))
)
def test_no_bytes_end_the_feed(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "SPY_bt.csv"
    feed = TailFeed(path, SPY, HOURS, clock=ManualClock(end_of(15)))
    append(path, HEADER)
    for each in lines:
        append(path, each + b"\n")
        polled(feed)
    append(path, "\n" + line(14))
    assert end_of(14) in ends(polled(feed)) or any(b"14:00" in each for each in lines)
    feed.stop()


def test_growing_file_survives_being_read_only_in_part(path: Path) -> None:
    append(path, b"\xef\xbb\xbfa,b\n1,2\r\n3,")
    growing = GrowingFile(path)
    chunk = growing.read()
    assert chunk is not None
    assert chunk.text.endswith(b"a,b\n1,2\r\n")
    os.truncate(path, 0)
    replaced = growing.read()
    assert replaced is not None
    assert replaced.abandoned == 3
    growing.close()


def test_a_declared_layout_is_followed(path: Path) -> None:
    source = Source.model_validate(
        dict(HOURS)
        | {"separator": ";", "decimal": ",", "columns": {"close": "Last"}, "select": {"venue": "N"}}
    )
    made = TailFeed(path, SPY, source, clock=ManualClock(end_of(15)))
    append(path, "datetime;open;high;low;last;volume;venue\n")
    append(path, "2018-12-11 10:00;100,5;101;100;100,5;7;X\n")
    assert reports(polled(made)) == [], "a piece without a selected row"
    append(path, "2018-12-11 11:00;100,5;101;100;100,5;7;X\n2018-12-11 11:00;100,25;101;100;100,5;7;N\n")
    items = polled(made)
    assert ends(items) == [end_of(11)]
    assert next(item for item in items if isinstance(item, Arrival)).values[0] == 100.25
    append(path, "2018-12-11 12:00;x;101;100;100,5;7;N\n")
    assert [item.detail.partition(": ")[0] for item in reports(polled(made))] == [f"{path}:5"]
    made.stop()


def test_a_second_contract_in_a_later_piece_is_reported(feed: TailFeed, path: Path) -> None:
    append(path, HEADER.replace("\n", ",symbol\n") + line(10).replace("\n", ",SPY\n"))
    assert ends(polled(feed)) == [end_of(10)]
    append(path, line(11).replace("\n", ",SPYX\n") + line(12).replace("\n", ",SPY\n"))
    items = polled(feed)
    assert ends(items) == [end_of(12)]
    (report,) = reports(items)
    assert "symbol 'SPYX': rows of several kinds: the first row has 'SPY'" in str(report.detail)


@pytest.mark.parametrize("changes", [{"header": False}, {"encoding": "cp1252"}])
def test_a_layout_that_cannot_be_followed_is_refused(path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="needs a header and UTF-8"):
        TailFeed(path, SPY, Source.model_validate(dict(HOURS) | changes), clock=ManualClock(0))
