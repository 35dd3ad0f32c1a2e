"""Every check of `verify` finds what it is for."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from lockstep.errors import JournalError
from lockstep.live.journal import Journal, opening
from lockstep.live.journal import opening as wal
from support import journals as make
from support.events import an_event
from support.journals import tampered


class TestVerify:
    """Every check of `verify` finds what it is for; a journal with all kinds of rows is clean."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "live.db"
        with Journal.open(path) as opened:
            opened.begin_epoch(make.epoch())
            opened.append_set(make.bar_set(0))
            opened.append_set(make.irregular_set(1))
            opened.append(an_event("stop", content={"why": "a"}))
            opened.begin_epoch(make.epoch(states={"ES": make.lane("ES", 8).state}))
            opened.append_set(make.bar_set(8))
            assert opened.verify() == []
        return path

    @pytest.mark.parametrize(
        ("statement", "finding"),
        [
            ("UPDATE bars SET close = close + 0.25 WHERE sequence = 1 AND place = 2", "entry 1: its hash"),
            ("UPDATE decisions SET mark_cash = -mark_cash WHERE sequence = 2", "entry 2: its hash"),
            ("UPDATE decisions SET vector = zeroblob(24) WHERE sequence = 2", "entry 2: its hash"),
            ("UPDATE irregularities SET detail = 'x' WHERE place = 1", "entry 2: its hash"),
            ("UPDATE orders SET price = 1.0 WHERE sequence = 6", "entry 6: its hash"),
            ("UPDATE events SET content = '{}' WHERE sequence = 5", "entry 5: its hash"),
            ("UPDATE events SET time = 1 WHERE sequence = 3", "entry 3: its hash"),
            ("DELETE FROM orders WHERE sequence = 6 AND lane = 1", "entry 6: its hash"),
            ("UPDATE entries SET hash = zeroblob(32) WHERE sequence = 4", "entry 4: its hash"),
            ("UPDATE warmup SET low = 0 WHERE epoch = 1", "epoch 1: its hash"),
            ("UPDATE states SET cash = 5.0 WHERE epoch = 2", "epoch 2: its hash"),
            ("UPDATE epochs SET hashes = '{}' WHERE number = 2", "epoch 2: its hash"),
            ("UPDATE sets SET stamp = 9 WHERE sequence = 2", "bar set 2: its stamp 9"),
            ("UPDATE events SET symbol = CAST(x'ff' AS TEXT)", "it cannot be read: Could not decode"),
            ("DELETE FROM events WHERE sequence = 5", "entry 5: neither"),
            ("DELETE FROM sets WHERE sequence = 1", "refers to a row of sets"),
            ("DELETE FROM entries WHERE sequence = 5", "refers to a row of entries"),
            ("UPDATE entries SET epoch = 1 WHERE sequence = 6", "entry 6: is in the wrong epoch"),
            ("UPDATE entries SET epoch = 2 WHERE sequence = 1", "entry 1: is in the wrong epoch"),
            ("UPDATE epochs SET number = 7 WHERE number = 2", "epoch 7: the one before it is missing"),
        ],
    )  # fmt: skip
    def test_finds(self, path: Path, statement: str, finding: str) -> None:
        tampered(path, statement)
        with Journal.open(path, readonly=True) as opened:
            assert any(finding in each for each in opened.verify()), opened.verify()

    def test_finds_a_hole_and_a_second_decision(self, path: Path) -> None:
        tampered(
            path,
            "DELETE FROM events WHERE sequence = 5", "DELETE FROM entries WHERE sequence = 5",
            "DROP INDEX one_decision",
            "INSERT INTO decisions SELECT * FROM decisions WHERE sequence = 6 AND symbol = 'ES'",
        )  # fmt: skip
        with Journal.open(path, readonly=True) as opened:
            found = opened.verify()
        assert "entry 6: the one before it is missing" in found
        assert any("ES decided more than once" in each for each in found)

    @pytest.mark.parametrize("newest", [1, 4, 5, 99])
    def test_only_the_tail(self, path: Path, monkeypatch: pytest.MonkeyPatch, newest: int) -> None:
        monkeypatch.setattr(opening, "_TAIL", newest)
        Journal.open(path).close()
        tampered(path, "UPDATE bars SET close = 1 WHERE sequence = 2")
        if newest <= 4:
            Journal.open(path).close()
        else:
            with pytest.raises(JournalError, match="damaged: entry 2"):
                Journal.open(path)

    def test_the_tail_is_checked_at_every_opening(self, path: Path) -> None:
        tampered(path, "UPDATE events SET content = '{}' WHERE sequence = 5")
        with pytest.raises(JournalError, match=r"damaged: entry 5.*restore"):
            Journal.open(path)


def _word_by_word(content: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    """The checksum of the log as SQLite's description says it."""
    first, second = sums
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) % 2**32
        second = (second + other + first) % 2**32
    return first, second


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("length", [0, 8, 24, 4_104])
def test_the_checksum_of_the_log_is_that_of_its_description(length: int, order: str) -> None:
    draw = random.Random(f"{length} {order}")
    for _ in range(20):
        content, sums = draw.randbytes(length), (draw.getrandbits(32), draw.getrandbits(32))
        assert wal._checksum(content, sums, order) == _word_by_word(content, sums, order)
