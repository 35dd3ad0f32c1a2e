"""Events: one class per kind, one codec, and a vocabulary that only grows."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given

from lockstep.errors import JournalError
from lockstep.live.codec import CLASSES, KINDS, content_of, event_of, shape_of, with_text
from lockstep.live.events import (
    BarIrregular,
    ClockJudged,
    CommandRefused,
    EngineStarted,
    Event,
    EventRow,
    FillReported,
    OrderResolved,
    OrderSent,
    PositionDiffers,
)
from lockstep.live.journal.rows import text_of, value_of
from lockstep.live.journal.schema import MIGRATIONS
from support.events import an_event, any_event

ROOT = Path(__file__).resolve().parents[2]
VOCABULARY = ROOT / "tests" / "fixtures" / "v1" / "events.json"
FILL = {
    "command": "c", "fill_id": "f", "order_id": "o", "symbol": "ES", "order": "market", "quantity": 1.0,
    "price": 2.0, "commission": 0.5, "stamp": 7,
}  # fmt: skip


@given(any_event())
def test_what_is_written_is_read_again(event: Event) -> None:
    text = text_of(content_of(event), event.kind)
    again = event_of(
        event.kind, value_of(text), symbol=event.symbol, time=event.time, sequence=event.sequence
    )
    assert repr(again) == repr(event)


def test_every_kind_has_one_class() -> None:
    assert len(KINDS) == len(CLASSES) == len({each.kind for each in CLASSES})
    declared = {each for each in EventRow.__subclasses__() if each.__module__ == EventRow.__module__}
    assert set(CLASSES) == declared, "an event that is not in the union"


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("fil", FILL, "event 'fil': no event has this kind; known are acknowledged, "),
        ("fill", {**FILL, "prize": 2.0}, "event fill: 'prize': no field of it has this name"),
        ("fill", {k: v for k, v in FILL.items() if k != "price"}, "event fill: has no price"),
        ("fill", {**FILL, "price": "2"}, "event fill: price '2': must be a number"),
        ("fill", {**FILL, "price": None}, "event fill: price None: must be a number"),
        ("fill", {**FILL, "price": True}, "event fill: price True: must be a number"),
        ("fill", {**FILL, "price": 10**400}, "must be a number"),
        ("fill", {**FILL, "stamp": 7.5}, "event fill: stamp 7.5: must be a whole number"),
        ("fill", {**FILL, "order": "limit"}, "order 'limit': must be 'market' or 'stop' or 'target'"),
        ("fill", {**FILL, "symbol": "NQ"}, "event fill: symbol 'NQ' within an event of 'ES'"),
        ("clock", {"good": 1, "detail": ""}, "event clock: good 1: must be true or false"),
        ("send", {"order_id": "o", "broker": "b", "message": []}, "message \\[\\]: must be a mapping"),
        ("start", {"replayed": 1, "floats": 2}, "floats 2: must be text or null"),
    ],
)
def test_what_no_event_looks_like_is_refused(kind: str, content: dict[str, Any], message: str) -> None:
    with pytest.raises(JournalError, match=message):
        event_of(kind, content, symbol="ES")


def test_what_could_not_be_read_again_is_not_written() -> None:
    with pytest.raises(JournalError, match="outcome 'plcaed': must be 'placed' or 'not_placed'"):
        content_of(OrderResolved(command="c", order_id="o", outcome="plcaed", reason="r"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="prize"):
        FillReported(prize=1.0)  # type: ignore[call-arg]


def test_a_whole_number_is_read_as_the_number_that_it_is() -> None:
    found = event_of("fill", {**FILL, "quantity": 2}, symbol="ES")
    assert isinstance(found, FillReported)
    assert (found.quantity, type(found.quantity)) == (2.0, float)


def test_a_field_that_may_be_missing_is_left_out_and_one_that_may_be_empty_is_null() -> None:
    assert content_of(EngineStarted(replayed=1)) == {"replayed": 1}
    assert content_of(PositionDiffers(detail="no file")) == {"detail": "no file"}
    bad = BarIrregular(problem="missing", key="ES:1h", end=0, values=None, detail="")
    assert content_of(bad) == {"kind": "missing", "key": "ES:1h", "end": 0, "values": None, "detail": ""}


def test_numbers_that_are_none_survive() -> None:
    text = text_of(content_of(an_event("reconciled", content={"quantity": math.nan})), "x")
    assert math.isnan(event_of("reconciled", value_of(text)).quantity)  # type: ignore[union-attr]


def test_a_refused_command_keeps_what_it_said() -> None:
    told = {"command": "c", "symbol": "ES", "quantity": 1.0, "error": "mode paper simulates its fills"}
    found = event_of("bad_command", told, symbol="ES")
    assert isinstance(found, CommandRefused)
    assert (found.command, found.given) == ("c", {"symbol": "ES", "quantity": 1.0})
    assert list(content_of(found).items()) == list(told.items())


def test_free_texts_can_be_changed_and_nothing_else_is() -> None:
    event = OrderSent(symbol="ES", order_id="o", broker="b", message={"a": ["x", 1]})
    assert with_text(event, lambda value: "s" if isinstance(value, str) else {"a": "s"}) == OrderSent(
        symbol="s", order_id="s", broker="s", message={"a": "s"}
    )
    clock = ClockJudged(good=False, detail="late", time=3, sequence=4)
    assert with_text(clock, str.upper) == ClockJudged(good=False, detail="LATE", time=3, sequence=4)


# The vocabulary grows by numbered steps


def vocabulary(step: int) -> dict[str, dict[str, str]]:
    """Return the kinds and fields that a step knows, with what each field may hold."""
    return {
        each.kind: {
            at.key: at.spelled + (", or left out" if at.optional else "")
            for at in shape_of(each)
            if at.since <= step
        }
        for each in sorted(CLASSES, key=lambda each: each.kind)
        if each.since <= step
    }


def test_what_a_step_knew_never_changes() -> None:
    """Add a step, do not edit one: a new class or field names the next step in `since`."""
    stored = json.loads(VOCABULARY.read_text())
    assert sorted(map(int, stored)) == list(range(1, len(MIGRATIONS) + 1))
    for step, known in stored.items():
        assert vocabulary(int(step)) == known, f"step {step}"
    assert {each.since for each in CLASSES} | {at.since for each in CLASSES for at in shape_of(each)} <= set(
        map(int, stored)
    )


@dataclass(frozen=True, kw_only=True)
class Later(EventRow):
    """A class to which a second step has added a field."""

    kind: ClassVar[Literal["later"]] = "later"  # type: ignore[misc]

    first: int
    second: str | None = field(default=None, metadata={"since": 2})


def test_a_field_that_a_later_step_adds_is_missing_in_older_rows() -> None:
    first, second = shape_of(Later)
    assert (first.since, first.optional) == (1, False)
    assert (second.since, second.optional, second.spelled) == (2, True, "text or null")


def test_a_field_that_older_rows_would_have_to_have_is_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Broken(EventRow):
        second: str = field(metadata={"since": 2})

    with pytest.raises(TypeError, match=r"Broken\.second: step 2 added it; give it the default None"):
        shape_of(Broken)


# Static: what a type checker says


_MISTAKES = """
from lockstep.live.events import Event, EngineStopped, OrderResolved, OrderSent
from typing import assert_never

EngineStopped(why="asked for")
EngineStopped(wyh="asked for")
OrderResolved(command="c", order_id="o", outcome="plcaed", reason="r")


def kinds(event: Event) -> bool:
    return event.kind == "sned"


def fields(event: OrderSent) -> str:
    return event.order_id + event.ordr_id


def all_of_them(event: OrderSent | EngineStopped) -> str:
    match event:
        case OrderSent():
            return event.broker
        case _:
            assert_never(event)
"""


def test_a_misspelled_kind_or_field_is_a_type_error(tmp_path: Path) -> None:
    file = tmp_path / "mistakes.py"
    file.write_text(_MISTAKES)
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "setup.cfg"), str(file)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    lines = [line for line in found.stdout.splitlines() if ": error: " in line]
    wanted = {
        6: 'Unexpected keyword argument "wyh"',
        7: 'Argument "outcome" to "OrderResolved" has incompatible type',
        11: "Non-overlapping equality check",
        15: '"OrderSent" has no attribute "ordr_id"',
        23: 'Argument 1 to "assert_never" has incompatible type "EngineStopped"',
    }
    assert {int(line.split(":")[1]) for line in lines} == set(wanted), found.stdout + found.stderr
    for number, words in wanted.items():
        assert any(f":{number}: " in line and words in line for line in lines), (words, found.stdout)
