"""A night's graph: order, keys, what is kept, what fails, and a process that dies at any write."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import DataError, PipelineError
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.pipeline import execution
from research.pipeline.book import FAILED, FINISHED, NightBook
from research.pipeline.effects import Happened, NightEffects
from research.pipeline.execution import Night, Outcome, StepOutcome, digest_of, only_one_night, prune
from research.pipeline.graph import Inputs, Pipeline, PipelineStep

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HERE = "research.pipeline.graph"


@dataclass
class Bench:
    """What the steps of these tests are given; `done` counts what was really done."""

    bars: str = "monday"
    broken: str = ""
    done: list[str] = field(default_factory=list)


def step(name: str, *needs: str, after: tuple[str, ...] = ()) -> PipelineStep[Bench]:
    def work(bench: Bench, read: Inputs, folder: Path) -> str:
        if bench.broken == name:
            raise DataError(f"{name}.csv: half of a line; fetch it again")
        bench.done.append(name)
        found = [(read[each] / "text").read_text() for each in (*needs, *after) if each in read]
        (folder / "text").write_text(f"{name}({', '.join(found)})")
        return f"{name} of {bench.bars}"

    return PipelineStep(
        name=name, module=HERE, needs=needs, after=after, work=work,
        ingredients=lambda bench, read: None if needs or after else bench.bars,
    )  # fmt: skip


STEPS = (
    step("bars"),
    step("sweep", "bars"),
    step("forward", "bars"),
    step("report", after=("sweep", "forward")),
)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Database.open(f"sqlite:///{tmp_path / 'e.db'}"))


def night(
    ledger: Ledger, folder: Path, bench: Bench, name: str = "2026-03-02", *, now: datetime = NOON
) -> Night[Bench]:
    book = NightBook(ledger=ledger, now=lambda: now)
    return Night(name=name, pipeline=Pipeline(STEPS), context=bench, book=book, folder=folder)


def by_name(outcomes: list[StepOutcome]) -> dict[str, Outcome]:
    return {each.name: each.outcome for each in outcomes}


def test_a_second_start_does_nothing_and_writes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench()
    first = night(ledger, tmp_path / "n", bench).run()
    rows, left = rows_of(ledger), digest_of(tmp_path / "n")
    second = night(ledger, tmp_path / "n", bench).run()
    assert set(by_name(first).values()) == {Outcome.DONE}
    assert set(by_name(second).values()) == {Outcome.KEPT}
    assert bench.done == ["bars", "sweep", "forward", "report"]
    assert rows_of(ledger) == rows
    assert digest_of(tmp_path / "n") == left
    assert first[-1].folder is not None
    assert (first[-1].folder / "text").read_text() == "report(sweep(bars()), forward(bars()))"


def test_what_reads_nothing_new_is_kept(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench()
    night(ledger, tmp_path / "n", bench).run()
    bench.done.clear()
    night(ledger, tmp_path / "n", bench, "2026-03-03").run()
    assert bench.done == []
    bench.bars = "tuesday"
    night(ledger, tmp_path / "n", bench, "2026-03-04").run()
    # What `bars` says of itself is another sentence: all that read its folder are done again.
    assert bench.done == ["bars", "sweep", "forward", "report"]


def test_a_step_that_fails_stops_those_that_need_it_alone(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(broken="sweep")
    start = night(ledger, tmp_path / "n", bench)
    line = r"^night 2026-03-02: sweep: sweep.csv: half of a line; fetch it again$"
    with pytest.raises(PipelineError, match=line):
        start.run()
    assert by_name(start.outcomes) == {
        "bars": Outcome.DONE,
        "sweep": Outcome.FAILED,
        "forward": Outcome.DONE,
        "report": Outcome.DONE,
    }
    kinds = [each.kind for each in start.book.events()]
    assert FAILED in kinds
    assert FINISHED not in kinds
    bench.broken = ""
    bench.done.clear()
    assert by_name(night(ledger, tmp_path / "n", bench).run())["bars"] is Outcome.KEPT
    assert bench.done == ["sweep", "report"]


def test_what_needs_a_step_that_failed_is_left_out(ledger: Ledger, tmp_path: Path) -> None:
    start = night(ledger, tmp_path / "n", Bench(broken="bars"))
    with pytest.raises(PipelineError):
        start.run()
    assert by_name(start.outcomes)["sweep"] is Outcome.LEFT_OUT


def test_a_rehearsal_changes_no_byte(ledger: Ledger, tmp_path: Path) -> None:
    before = digest_of(tmp_path)
    found = night(ledger, tmp_path / "n", Bench()).rehearse()
    assert digest_of(tmp_path) == before
    assert by_name(found) == dict.fromkeys(("bars", "sweep", "forward", "report"), Outcome.WOULD)
    night(ledger, tmp_path / "n", Bench()).run()
    assert set(by_name(night(ledger, tmp_path / "n", Bench()).rehearse()).values()) == {Outcome.KEPT}


def test_what_somebody_changed_is_noticed(ledger: Ledger, tmp_path: Path) -> None:
    done = night(ledger, tmp_path / "n", Bench()).run()
    assert done[0].folder is not None
    (done[0].folder / "text").write_text("edited")
    with pytest.raises(PipelineError, match="somebody changed it, or it does not come out the same twice"):
        night(ledger, tmp_path / "n", Bench()).run()


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        ((step("a"), step("a")), "two steps are called a"),
        ((step("a", "b"),), "step a reads b, which is no step of it"),
        ((step("a", "b"), step("b", "a")), "steps wait for one another: "),
    ],
)
def test_steps_that_are_no_graph_are_refused(steps: tuple[PipelineStep[Bench], ...], line: str) -> None:
    with pytest.raises(PipelineError, match=line):
        Pipeline(steps)


def test_a_second_process_hears_who_is_at_work(ledger: Ledger, tmp_path: Path) -> None:
    with only_one_night(tmp_path / "n", "2026-03-02", NOON), pytest.raises(PipelineError) as refused:
        night(ledger, tmp_path / "n", Bench(), "2026-03-03").run()
    line = f"process {os.getpid()} is at work on night 2026-03-02, since 2026-03-02 12:00 UTC"
    assert line in str(refused.value)
    night(ledger, tmp_path / "n", Bench()).run()


def test_a_clock_that_went_back_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    night(ledger, tmp_path / "n", Bench()).run()
    with pytest.raises(PipelineError, match="it went back; set it"):
        night(ledger, tmp_path / "n", Bench(), now=NOON - timedelta(hours=1)).run()
    night(ledger, tmp_path / "n", Bench(), now=NOON - timedelta(seconds=30)).run()


def test_code_that_changes_in_the_middle_stops_the_night(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    monkeypatch.setattr(execution, "is_changed_on_disk", lambda: "bars" in bench.done)
    with pytest.raises(PipelineError, match="the code on the disk changed while it ran"):
        night(ledger, tmp_path / "n", bench).run()
    assert bench.done == ["bars"]


def test_old_folders_are_removed_and_those_in_use_stay(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench()
    for number, bars in enumerate(("a", "b", "c", "c"), start=2):
        bench.bars = bars
        night(ledger, tmp_path / "n", bench, f"2026-03-0{number}").run()
    book = NightBook(ledger=ledger, now=lambda: NOON)
    assert prune(tmp_path / "n", book, 1) == 8
    bench.done.clear()
    night(ledger, tmp_path / "n", bench, "2026-03-06").run()
    assert bench.done == []


class Death(BaseException):
    """A process that dies here."""


def dying(at: int, function: Callable[..., Any], count: list[int]) -> Callable[..., Any]:
    """Return the function, dying before or after the call of number `at`."""

    def tick() -> None:
        count[0] += 1
        if count[0] == at:
            raise Death

    def call(*arguments: Any, **named: Any) -> Any:
        tick()
        found = function(*arguments, **named)
        tick()
        return found

    return call


def rows_of(ledger: Ledger) -> list[Any]:
    return [replace(each, recorded="") for each in NightBook(ledger=ledger, now=lambda: NOON).events()]


def test_a_death_before_or_after_any_write_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Ledger(Database.open(f"sqlite:///{tmp_path / 'whole.db'}"))
    night(whole, tmp_path / "whole", Bench()).run()
    deaths = 0
    for at in range(1, 200):
        ledger, folder = Ledger(Database.open(f"sqlite:///{tmp_path / f'{at}.db'}")), tmp_path / str(at)
        count = [0]
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", dying(at, os.replace, count))
            patched.setattr(NightBook, "record", dying(at, NightBook.record, count))
            try:
                night(ledger, folder, Bench()).run()
                break
            except Death:
                deaths += 1
        night(ledger, folder, Bench()).run()
        assert rows_of(ledger) == rows_of(whole)
        assert digest_of(folder) == digest_of(tmp_path / "whole")
    assert deaths > 20


def test_an_effect_happens_once(ledger: Ledger) -> None:
    sent: list[str] = []
    effects = NightEffects(ledger=ledger, now=lambda: NOON)

    def send() -> str:
        sent.append("x")
        return ""

    def die() -> str:
        raise Death

    told = effects.at_most_once
    assert told("n1", "message", "m1", {}, send) is Happened.NOW
    assert told("n2", "message", "m1", {}, send) is Happened.BEFORE
    assert len(sent) == 1
    with pytest.raises(Death):
        told("n1", "message", "m2", {}, die)
    assert told("n1", "message", "m2", {}, send) is Happened.UNKNOWN
    assert len(sent) == 1
    with pytest.raises(Death):
        effects.once("n1", "register", "r1", {"sigma": 1.5}, die)
    assert effects.once("n1", "register", "r1", {"sigma": 1.5}, lambda: send() or "r1") is Happened.NOW
    assert len(sent) == 2
    known = {(each.kind, each.subject): each.outcome for each in effects.all()}
    assert known == {("message", "m1"): "done", ("message", "m2"): None, ("register", "r1"): "r1"}


def test_what_was_refused_is_tried_again_and_what_nobody_knows_is_not(ledger: Ledger) -> None:
    effects = NightEffects(ledger=ledger, now=lambda: NOON)
    answers: list[str | None] = ["no answer", "no answer", "", "never asked"]

    def send() -> str | None:
        return answers.pop(0)

    found = [effects.at_most_once(f"n{each}", "message", "m1", {}, send) for each in range(4)]
    assert found == [Happened.REFUSED, Happened.REFUSED, Happened.NOW, Happened.BEFORE]
    assert [(each.night, each.refusal) for each in effects.all()] == [
        ("n0", "no answer"), ("n1", "no answer"), ("n2", ""),
    ]  # fmt: skip
    assert len({each.key for each in effects.all()}) == 3
    answers[:] = ["no answer", None, "never asked"]
    found = [effects.at_most_once("n1", "message", "m2", {}, send) for _ in range(3)]
    assert found == [Happened.REFUSED, Happened.UNKNOWN, Happened.UNKNOWN]
    assert [(each.subject, each.outcome) for each in effects.newest()] == [("m1", "done"), ("m2", None)]
    assert answers == ["never asked"]
