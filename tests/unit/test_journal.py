"""The journal: order, all or nothing, questions, one writer, readers beside it."""

from __future__ import annotations

import dataclasses
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lockstep.errors import JournalError, JournalFault
from lockstep.live.events import EngineStopped, FillReported
from lockstep.live.journal import Journal
from lockstep.live.messages import EpochPortfolio, SetRecord
from lockstep.market.timeframe import DAILY, Timeframe
from support import journals as make
from support.events import an_event
from support.journals import HOUR, START, exactly, tampered


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "live.db") as opened:
        opened.begin_epoch(make.epoch())
        yield opened


class TestRoundTrip:
    def test_entries_equal_what_was_appended_in_their_order(self, journal: Journal) -> None:
        message = {"text": "ü", "n": [1, 2.5, None, {"a": True}]}
        alert = an_event("send", symbol="ES", time=5, content={"message": message})
        written = [
            make.bar_set(0),
            alert,
            make.irregular_set(1),
            make.bar_set(2),
            make.settled_set(3),
            dataclasses.replace(alert, time=6),
        ]
        for each in written:
            journal.append_set(each) if isinstance(each, SetRecord) else journal.append(each)
        read = list(journal.entries(1))
        assert [exactly(each) for each in read] == [exactly(each) for each in written]
        assert [each.sequence for each in read] == [1, 2, 3, 6, 7, 8]
        assert [each.sequence for each in read[2].events] == [4, 5]  # type: ignore[union-attr]

    def test_an_epoch_equals_what_was_begun(self, tmp_path: Path) -> None:
        lane = make.lane("ES", 8).state
        warmup = {
            make.key("ES"): ((1, make.bar(1)), (2, (1.0, 2.0, 0.5, math.nan, -0.0))),
            make.key("NQ", DAILY): (),
        }
        warmup |= {
            make.key("ES", Timeframe(15)): ((2, make.bar(2)),),
            make.key("ES", DAILY): ((3, make.bar(3)),),
        }
        settled = make.settled_set(0).settled
        assert settled is not None
        portfolio = EpochPortfolio({"name": "desk", "capital": 0.1}, settled.state)
        epoch = make.epoch(
            warmup=warmup, states={"NQ": make.FLAT, "ES": lane}, mode="live", bundles={}, portfolio=portfolio
        )
        with Journal.open(tmp_path / "live.db") as opened:
            assert opened.newest_epoch() is None
            assert opened.begin_epoch(epoch) == 1
            assert opened.begin_epoch(dataclasses.replace(epoch, number=7)) == 2
            assert [exactly(each) for each in opened.epochs()] == [
                exactly(dataclasses.replace(epoch, number=number)) for number in (1, 2)
            ]
            assert exactly(opened.newest_epoch()) == exactly(opened.epochs()[1])
            assert opened.verify() == []

    def test_state_with_a_waiting_order_keeps_the_text_that_a_replay_compares(self, journal: Journal) -> None:
        journal.append_set(make.bar_set(0))
        (read,) = journal.entries(1)
        assert isinstance(read, SetRecord)
        assert repr(read.lanes[0].state) == repr(make.bar_set(0).lanes[0].state)

    def test_long_journals_are_read_in_pieces_without_a_seam(self, journal: Journal) -> None:
        written = []
        for number in range(600):
            extra = (an_event("refusal"),) * (number % 3)
            written.append(
                journal.append_set(make.bar_set(number, symbols=("ES",), features=1, events=extra))
            )
            written += journal.append(an_event("stop")) if number % 5 == 0 else ()
        assert [each.sequence for each in journal.entries(1)] == written
        assert [each.sequence for each in journal.entries(1, after=written[299])] == written[300:]

    def test_after_inside_a_set_goes_on_behind_it(self, journal: Journal) -> None:
        first = journal.append_set(make.bar_set(0, events=(an_event("refusal"), an_event("refusal"))))
        second = journal.append_set(make.bar_set(1))
        assert [each.sequence for each in journal.entries(1, after=first + 1)] == [second]


class TestSequence:
    def test_sequences_rise_without_holes_while_clocks_jump_back(self, journal: Journal) -> None:
        given = [*journal.append(an_event("stop", time=9), an_event("stop", time=3))]
        given.append(journal.append_set(make.bar_set(0)))
        given += journal.append(an_event("stop", time=-5))
        assert given == [1, 2, 3, 4]
        assert journal.verify() == []

    @pytest.mark.parametrize("number", [3, 2])
    def test_a_set_that_is_not_after_the_last_one_is_refused(self, journal: Journal, number: int) -> None:
        journal.append_set(make.bar_set(3))
        with pytest.raises(JournalError, match="not after"):
            journal.append_set(make.bar_set(number))
        assert journal.append_set(make.bar_set(4)) == 2

    def test_it_goes_on_where_it_was_closed(self, tmp_path: Path) -> None:
        path = tmp_path / "live.db"
        with Journal.open(path) as opened:
            opened.begin_epoch(make.epoch())
        with Journal.open(path) as opened:
            assert opened.append_set(make.bar_set(3)) == 1
        with Journal.open(path) as opened:
            with pytest.raises(JournalError, match="not after"):
                opened.append_set(make.bar_set(3))
            assert opened.append(an_event("stop")) == (2,)
            assert opened.begin_epoch(make.epoch()) == 2
        with Journal.open(path) as opened:
            assert opened.append_set(make.bar_set(1)) == 3
            assert opened.verify() == []

    def test_nothing_is_written_before_an_epoch(self, tmp_path: Path) -> None:
        with Journal.open(tmp_path / "live.db") as opened:
            with pytest.raises(JournalError, match="no epoch yet"):
                opened.append(an_event("start"))
            with pytest.raises(JournalError, match="no epoch yet"):
                opened.append_set(make.bar_set(0))
            assert opened.verify() == []


class TestAllOrNothing:
    def twice(self, number: int) -> SetRecord:
        record = make.bar_set(number)
        return dataclasses.replace(record, lanes=(*record.lanes, record.lanes[0]))

    def test_two_decisions_of_one_symbol_write_nothing(self, journal: Journal) -> None:
        with pytest.raises(JournalError, match=r"UNIQUE.*nothing of this was written"):
            journal.append_set(self.twice(0))
        assert list(journal.entries(1)) == []
        assert journal.append_set(make.bar_set(0)) == 1
        assert journal.verify() == []

    def test_a_mistake_of_the_program_is_shown_as_one_and_writes_nothing(self, journal: Journal) -> None:
        wrong = dataclasses.replace(make.bar_set(0), lanes=(make.lane("ES", 0, code=np.int64(7)),))
        with pytest.raises(TypeError):
            journal.append_set(wrong)
        with pytest.raises(JournalError, match=r"event stop: why \['no', 'text'\]: must be text"):
            journal.append(an_event("stop"), EngineStopped(why=("no", "text")))  # type: ignore[arg-type]
        assert list(journal.entries(1)) == []

    @pytest.mark.parametrize(
        ("content", "place"),
        [
            ({"a": (1, 2)}, r"event send\.message\.a: \(1, 2\) is a tuple"),
            ({"a": [{"b": {3}}]}, r"event send\.message\.a\[0\]\.b: \{3\} is a set"),
            ({"a": {1: 2}}, r"event send\.message\.a: the key 1 is no text"),
            ({"a": np.int64(1)}, "int64"),
        ],
        ids=["tuple", "set", "key", "numpy"],
    )
    def test_content_that_would_come_back_as_something_else(
        self, journal: Journal, content: dict[str, object], place: str
    ) -> None:
        with pytest.raises(JournalError, match=place):
            journal.append(an_event("send", content={"message": content}))
        assert list(journal.entries(1)) == []


class TestIllegible:
    """Rows that nobody wrote so are refused, not traded on and not a traceback."""

    @pytest.mark.parametrize(
        ("statement", "what"),
        [
            ("UPDATE decisions SET trade = '{' WHERE sequence = 1", "entry 1 cannot be understood"),
            ("UPDATE bars SET timeframe = '1y'", "entry 1 cannot be understood"),
            ("UPDATE decisions SET waiting = '[]'", "entry 1 cannot be understood"),
            ("UPDATE events SET content = 'x' WHERE sequence = 2", "entry 2 cannot be understood"),
            (
                "UPDATE events SET kind = 'stpo' WHERE sequence = 2",
                "entry 2 .*'stpo': no event has this kind",
            ),
            ("UPDATE events SET content = '{}' WHERE sequence = 2", "entry 2 .*event stop: has no why"),
            ("DELETE FROM events WHERE sequence = 2", "entry 2 cannot be understood"),
            ("UPDATE events SET symbol = CAST(x'ff' AS TEXT)", "Could not decode.*it is damaged"),
        ],
    )
    def test_entries(self, tmp_path: Path, statement: str, what: str) -> None:
        path = tmp_path / "live.db"
        with Journal.open(path) as opened:
            opened.begin_epoch(make.epoch())
            opened.append_set(make.bar_set(1))
            opened.append(an_event("stop"))
        tampered(path, statement)
        with Journal.open(path, readonly=True) as opened, pytest.raises(JournalError, match=what):
            list(opened.entries(1))
        with pytest.raises(JournalError, match="damaged"):
            Journal.open(path)

    def test_epochs_and_events(self, tmp_path: Path) -> None:
        path = tmp_path / "live.db"
        with Journal.open(path) as opened:
            opened.begin_epoch(make.epoch())
            opened.append(an_event("stop"))
        tampered(path, "UPDATE events SET content = 'x'", "UPDATE epochs SET bundles = 'x'")
        with Journal.open(path, readonly=True) as opened:
            with pytest.raises(JournalError, match="an epoch cannot be understood"):
                opened.newest_epoch()
            with pytest.raises(JournalError, match="an event behind entry 0 cannot be understood"):
                list(opened.events())


class TestQuestions:
    def test_last_set(self, journal: Journal) -> None:
        assert journal.last_set() is None
        journal.append_set(make.bar_set(0))
        journal.append_set(make.irregular_set(1))
        journal.append(an_event("stop"))
        assert exactly(journal.last_set()) == exactly(make.irregular_set(1))
        journal.begin_epoch(make.epoch())
        assert journal.last_set(2) is None
        assert exactly(journal.last_set(1)) == exactly(journal.last_set()) == exactly(make.irregular_set(1))

    def test_an_epoch_that_is_not_there(self, journal: Journal) -> None:
        with pytest.raises(JournalError, match="no epoch 4; the newest is 1"):
            list(journal.entries(4))

    def test_epochs_are_apart(self, journal: Journal) -> None:
        journal.append(an_event("start"))
        journal.begin_epoch(make.epoch())
        journal.append(an_event("stop"))
        assert [[each.kind for each in journal.entries(number)] for number in (1, 2)] == [["start"], ["stop"]]

    def test_last_stamps_know_warm_up_and_late_bars(self, tmp_path: Path) -> None:
        with Journal.open(tmp_path / "live.db") as opened:
            opened.begin_epoch(make.epoch())
            assert opened.last_stamps() == dict.fromkeys(map(make.key, make.SYMBOLS), START - HOUR)
            opened.append_set(make.irregular_set(2))
            found = opened.last_stamps()
        assert found[make.key("ES")] == START + 2 * HOUR
        assert found[make.key("GC")] == START - HOUR
        assert found[make.key("ES", DAILY)] == START - HOUR

    def test_bars_over_epochs_the_last_written_counts(self, journal: Journal) -> None:
        for number in range(3):
            journal.append_set(make.bar_set(number))
        settled = (9.0, 9.0, 9.0, 9.0, math.nan)
        journal.begin_epoch(make.epoch(warmup={make.key("ES"): ((START + HOUR, settled),)}))
        journal.append_set(make.bar_set(5))
        found = journal.bars(make.key("ES"), limit=4)
        ends = [START + number * HOUR for number in (0, 1, 2, 5)]
        expected = tuple(zip(ends, (make.bar(0), settled, make.bar(2), make.bar(5)), strict=True))
        assert exactly(found) == exactly(expected)
        assert len(journal.bars(make.key("ES"), limit=99)) == 7
        assert journal.bars(make.key("6E"), limit=3) == ()
        assert journal.bars(make.key("ES"), limit=0) == ()

    def test_events(self, journal: Journal) -> None:
        journal.append(an_event("stop", symbol="ES", time=5), an_event("fill", symbol="NQ", time=7))
        journal.append_set(make.irregular_set(0))
        journal.begin_epoch(make.epoch())
        journal.append(an_event("stop", symbol="NQ", time=6))
        assert [each.sequence for each in journal.events()] == [1, 2, 4, 5, 6]
        assert [each.sequence for each in journal.events(EngineStopped)] == [1, 5, 6]
        assert [each.sequence for each in journal.events(EngineStopped, FillReported, symbol="NQ")] == [2, 6]
        assert [each.sequence for each in journal.events(since=6)] == [2, 4, 6]

    def test_many_events_in_pieces(self, journal: Journal) -> None:
        given = journal.append(*(an_event("stop") for _ in range(2100)))
        assert tuple(each.sequence for each in journal.events(EngineStopped)) == given

    def test_open_bundles_are_those_of_the_start_the_decisions_and_the_swaps(self, tmp_path: Path) -> None:
        with Journal.open(tmp_path / "live.db") as opened:
            assert opened.open_bundles() == frozenset()
            opened.begin_epoch(make.epoch(bundles={"ES": "old"}))
            opened.append(an_event("swap", symbol="ES", content={"to_sha256": "older"}))
            opened.begin_epoch(make.epoch(bundles={"ES": "start", "NQ": ""}))
            opened.append_set(
                dataclasses.replace(make.bar_set(0), lanes=(make.lane("ES", 0, bundle="decided"),))
            )
            opened.append(an_event("swap", symbol="ES", content={"to_sha256": "next"}))
            assert opened.open_bundles() == {"start", "decided", "next"}

    def test_size_counts_the_log(self, journal: Journal) -> None:
        before = journal.size()
        for number in range(20):
            journal.append_set(make.bar_set(number))
        assert journal.size() > max(before, journal.path.stat().st_size)


class TestOneWriter:
    def test_the_second_is_refused_with_the_pid_of_the_first(self, journal: Journal) -> None:
        with pytest.raises(JournalError, match=f"process {os.getpid()} is writing it"):
            Journal.open(journal.path)
        journal.append(an_event("start"))

    def test_a_writer_whose_number_is_not_readable(self, journal: Journal) -> None:
        journal.path.with_name("live.db.pid").write_bytes(b"\xff")
        with pytest.raises(JournalError, match=r"process \(unknown\)"):
            Journal.open(journal.path)

    def test_closed_twice_it_lets_the_next_one_in(self, journal: Journal) -> None:
        journal.close()
        journal.close()
        with Journal.open(journal.path) as opened:
            assert opened.newest_epoch() is not None
        assert not journal.path.with_name("live.db.pid").exists()

    def test_a_failed_opening_leaves_no_lock(self, tmp_path: Path) -> None:
        path = tmp_path / "live.db"
        path.write_bytes(b"no database at all, but more than a header of one hundred bytes" * 9)
        for _ in range(2):
            with pytest.raises(JournalError, match="not a journal"):
                Journal.open(path)

    @pytest.mark.parametrize("replaced", [False, True])
    def test_a_lock_that_is_lost_ends_the_writing(self, journal: Journal, replaced: bool) -> None:
        lock = journal.path.with_name("live.db.lock")
        lock.unlink()
        if replaced:
            lock.touch()
        before = journal.select("SELECT count(*) FROM entries")
        with pytest.raises(JournalFault, match="was removed or replaced, another process may be writing"):
            journal.append(an_event("start"))
        assert journal.select("SELECT count(*) FROM entries") == before

    def test_a_lock_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "live.db.lock").mkdir()
        with pytest.raises(JournalError, match="cannot be locked"):
            Journal.open(tmp_path / "live.db")


class TestReadOnly:
    def test_it_reads_while_the_writer_writes(self, journal: Journal) -> None:
        journal.append_set(make.bar_set(0))
        with Journal.open(journal.path, readonly=True) as reader:
            first = reader.entries(1)
            assert next(first).sequence == 1
            journal.append_set(make.bar_set(1))
            assert list(first) == []
            assert len(list(reader.entries(1))) == 2
            assert reader.verify() == []

    def test_it_cannot_write(self, journal: Journal) -> None:
        with Journal.open(journal.path, readonly=True) as reader:
            for write in (
                lambda: reader.append(an_event("start")),
                lambda: reader.append_set(make.bar_set(0)),
                lambda: reader.begin_epoch(make.epoch()),
            ):
                with pytest.raises(JournalError, match="reading only"):
                    write()
            with pytest.raises(JournalError, match="cannot be written to"):
                reader.select("DELETE FROM entries")

    def test_nothing_is_created(self, tmp_path: Path) -> None:
        with pytest.raises(JournalError, match="there is none"):
            Journal.open(tmp_path / "live.db", readonly=True)
        assert list(tmp_path.iterdir()) == []

    def test_a_reader_in_another_thread_sees_whole_sets(self, journal: Journal) -> None:
        counts: list[tuple[int, int]] = []
        stop = threading.Event()

        def read() -> None:
            with Journal.open(journal.path, readonly=True) as reader:
                while not stop.is_set():
                    counts.append(
                        reader.select("SELECT (SELECT count(*) FROM sets), (SELECT count(*) FROM decisions)")[
                            0
                        ]
                    )

        thread = threading.Thread(target=read)
        thread.start()
        for number in range(150):
            journal.append_set(make.bar_set(number, features=2))
        stop.set()
        thread.join()
        assert all(decisions == 4 * sets for sets, decisions in counts)
        assert len(set(counts)) > 1
