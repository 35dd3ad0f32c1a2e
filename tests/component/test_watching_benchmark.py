"""The measurement of what a watching process costs: one that disturbs is seen, one that ends refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.measure import ROOT, Measured
from benchmarks.watching import watching

READERS = ROOT / "tests" / "support" / "journal_readers.py"


def measured(kind: str, pairs: int = 1) -> tuple[Measured, Measured]:
    command = (sys.executable, str(READERS), kind, "{journal}")
    by_clock, apart, slowest = watching(command, pairs=pairs, end="2016-04-29", settled=0.1)
    assert by_clock.promise == apart.promise == 1.05
    return apart, slowest


def test_a_reader_that_polls_is_measured_and_one_that_locks_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether polling costs less than a twentieth is for `make bench`: here others share the machine."""
    monkeypatch.chdir(tmp_path)
    (polls, _), (locks, slowest) = measured("polls"), measured("locks")
    assert polls.unit == "x"
    assert "82 sets" in polls.note
    assert polls.value < locks.value
    assert locks.value > 3.0
    assert not locks.kept
    assert slowest.value > 3.0, "whoever waits for a lock waits for long"
    assert not list(tmp_path.iterdir())


def test_a_watching_process_that_ends_is_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="the watching process ended with 0"):
        measured("dies")
