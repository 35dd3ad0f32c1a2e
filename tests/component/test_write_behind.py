"""Searches of a night, written while the next is evaluated: the same rows in the same order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import ExperimentError
from research.experiments import execution, search
from research.experiments.execution import Lab
from research.experiments.plan import Plan
from research.experiments.progress import ExperimentListener
from research.experiments.store import Batch, Store
from research.experiments.write_behind import WriteBehind
from research.ledger.database import Database
from support.experiments import plan, toy_lab
from support.nights import dump

PLANS = (
    plan(name="one", parameters={"entry.high": (0.1, 0.2, 0.3), "max_bars": (3, 5)}),
    plan(name="two", parameters={"entry.high": (0.15, 0.25), "max_bars": (3, 5)}, symbols=("SPX", "COMP")),
    plan(name="three", parameters={"exit.low": (0.5, 0.6, 0.7), "max_bars": (2,)}),
)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(search, "_BATCH", (2, 2))
    monkeypatch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path / "cache"))


class InTurn(WriteBehind):
    """Writes at once, in the thread that computes: no second worker."""

    def put(self, write: Callable[[], None], told: Callable[[], None], *, about: str) -> None:
        write()
        told()


class Late(WriteBehind):
    """Every other write takes longer than what is computed meanwhile."""

    delays = (0.05, 0.0)

    def put(self, write: Callable[[], None], told: Callable[[], None], *, about: str) -> None:
        delays: Iterator[float] = self.__dict__.setdefault("_delays", iter(self.delays * 50))
        delay = next(delays)

        def later() -> None:
            time.sleep(delay)
            write()

        super().put(later, told, about=about)


class AsTheyEnd(WriteBehind):
    """The planted fault: rows come in the order in which writes end, and the second of two ends first."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: Callable[[], None] | None = None

    def put(self, write: Callable[[], None], told: Callable[[], None], *, about: str) -> None:
        if self.slow is None:
            self.slow = write
            return
        write()
        self.slow()
        self.slow = None

    def settle(self, about: str | None = None) -> None:
        if self.slow is not None:
            self.slow()
        self.slow = None


def written(folder: Path, plans: tuple[Plan, ...] = PLANS) -> dict[str, list[Any]]:
    folder.mkdir()
    lab = toy_lab(Database.open(f"sqlite:///{folder / 'experiments.db'}"))
    lab.evaluate([lab.begin(each) for each in plans])
    return dump(folder / "experiments.db")


@pytest.mark.parametrize("kind", [WriteBehind, Late])
def test_rows_are_those_of_one_worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type[WriteBehind]
) -> None:
    monkeypatch.setattr(execution, "WriteBehind", InTurn)
    alone = written(tmp_path / "alone")
    monkeypatch.setattr(execution, "WriteBehind", kind)
    assert written(tmp_path / "beside") == alone
    assert len(alone["run"]) == len(alone["ledger"]) == 17
    assert len(alone["returns"]) == 9


def test_rows_in_the_order_of_completion_are_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Negative control of the test above."""
    monkeypatch.setattr(execution, "WriteBehind", InTurn)
    alone = written(tmp_path / "alone")
    monkeypatch.setattr(execution, "WriteBehind", AsTheyEnd)
    beside = written(tmp_path / "beside")
    assert beside["ledger"] != alone["ledger"]


def test_all_are_declared_before_the_first_is_evaluated(tmp_path: Path) -> None:
    rows = written(tmp_path / "night")
    links = {row[0]: row[1] for row in rows["link"]}
    order = [links[number] for number in sorted(links)]
    assert order.count("space") == 4
    assert max(at for at, name in enumerate(order) if name == "space") < order.index("ledger")


def test_nothing_is_written_after_a_write_that_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add, calls = Store.add, list[int]()

    def failing(self: Store, connection: Any, number: int, batch: Batch) -> None:
        calls.append(number)
        if len(calls) == 3:
            raise ExperimentError("the disk is full")
        add(self, connection, number, batch)

    lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))
    numbers = [lab.begin(each) for each in PLANS]
    monkeypatch.setattr(Store, "add", failing)
    with pytest.raises(ExperimentError, match="the disk is full"):
        lab.evaluate(numbers)
    assert calls == [1, 1, 1]
    assert [lab.store.record(each).done for each in numbers] == [4, 0, 0]
    monkeypatch.undo()
    lab.evaluate(numbers)
    assert [lab.store.record(each).done for each in numbers] == [6, 8, 3]


def test_who_listens_hears_of_each_batch_in_its_own_thread_and_in_order(tmp_path: Path) -> None:
    heard = list[tuple[int, list[int]]]()

    class Ear(ExperimentListener):
        def stored(self, batch: Batch) -> None:
            heard.append((threading.get_ident(), [each.variant for each in batch.heads]))

    lab: Lab = toy_lab(Database.open(f"sqlite:///{tmp_path / 'experiments.db'}"))
    lab.evaluate([lab.begin(PLANS[0])], Ear())
    assert heard == [(threading.get_ident(), each) for each in ([0, 1], [2, 3], [4, 5])]


def test_an_error_of_the_caller_waits_for_the_write_that_was_begun() -> None:
    rows = list[int]()

    def slow() -> None:
        time.sleep(0.05)
        rows.append(1)

    def fail() -> None:
        with WriteBehind() as behind:
            behind.put(slow, lambda: None, about="ES")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert rows == [1]


def test_what_is_about_another_symbol_is_not_waited_for() -> None:
    gate, rows = threading.Event(), list[int]()

    def write() -> None:
        gate.wait(5)
        rows.append(1)

    with WriteBehind() as behind:
        behind.put(write, lambda: None, about="ES")
        behind.settle("NQ")
        assert rows == []
        gate.set()
        behind.settle("ES")
        assert rows == [1]
