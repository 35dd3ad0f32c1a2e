"""A night that is killed ends as one that is not; and whatever is compared for that would be noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from operations.nightly.telling import TOLD
from support.night_kills import NightLeft, verdict
from support.nights import ROOT

MESSAGE, SUBJECT, LINE = "dips_COMP_0 registered", "dips_COMP_0 registered by log", "2018-12-31 dips_COMP_0"


def test_a_night_that_is_killed_ends_as_one_that_is_not(tmp_path: Path) -> None:
    """Six forks that die at a write; a real `run` and the real `resume` after it, killed at some moment."""
    command = [sys.executable, "-m", "support.night_kills", str(tmp_path), "6", "1", "17"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["killed"], found["different"], found["commands left otherwise"]) == (6, {}, {})
    assert (found["candidates"], found["effects"]) == (1, 2)
    assert found["writes"] > 100
    assert found["killed commands"]["run"] == 1
    # Killed between a message and its row: told as unknown, and not sent again.
    assert found["after a message"] == {"unknown": 1, "different": []}
    # The control: effects that forget what was begun send it twice, and write it twice.
    assert "table effect" in found["control"]["different"]
    assert any(line.startswith("sent 2 times") for line in found["control"]["different"])


def a_night(*, ended: bool = True) -> NightLeft:
    """Return what a night left that registered a candidate and told of it; `ended`: and knows that it did."""
    message = {"id": 2, "kind": TOLD, "subject": SUBJECT, "content": json.dumps({"message": MESSAGE})}
    registered = {"id": 1, "kind": "register", "subject": "abc COMP", "content": "{}"}
    done = [{"id": number, "effect_id": number, "outcome": "done"} for number in (1, 2)[: 2 if ended else 1]]
    tables = ["run", "effect", *["effect_done"] * len(done), "night"]
    key, told = "ended" if ended else "unknown", f"message of {MESSAGE}: nobody knows"
    return NightLeft(
        rows={
            "run": [{"id": 1, "sharpe": 0.5}],
            "effect": [registered, message],
            "effect_done": done,
            "night": [{"step": each, "key": k, "output": k} for each, k in (("sweep", "k"), ("report", key))],
            "link": [{"id": at, "table_name": name} for at, name in enumerate(tables)],
        },
        files={"sweep": "s", "decide": "d", "report": key, "night-2018-12-31.html": key},
        report={"sentence": "nothing promoted", "unknown": [] if ended else [told]},
        log=f"{LINE}\n",
        sent=(LINE,),
    )  # fmt: skip


def test_the_same_night_is_the_same() -> None:
    assert verdict(a_night(), a_night()) == []


def test_a_message_of_which_nobody_knows_may_be_missing_and_nothing_else() -> None:
    for sent in ((), (LINE,)):
        assert verdict(a_night(), replace(a_night(ended=False), sent=sent)) == []


def other_rows(night: NightLeft, name: str, change: Callable[[Sequence[Any]], Sequence[Any]]) -> NightLeft:
    return replace(night, rows={**night.rows, name: change(night.rows[name])})


FAULTS: dict[str, Callable[[NightLeft], NightLeft]] = {
    "a row": lambda night: other_rows(night, "run", lambda rows: [{**rows[0], "sharpe": 0.6}]),
    "a row too many": lambda night: other_rows(night, "effect", lambda rows: [*rows, {**rows[0], "id": 3}]),
    "a row too few": lambda night: other_rows(night, "run", lambda rows: []),
    "an end of something else": lambda night: other_rows(night, "effect_done", lambda rows: rows[1:]),
    "a link too few": lambda night: other_rows(night, "link", lambda rows: rows[1:]),
    "a step's row": lambda night: other_rows(night, "night", lambda rows: [{**rows[0], "key": "x"}, rows[1]]),
    "a folder": lambda night: replace(night, files={**night.files, "decide": "x"}),
    "a page that is missing": lambda night: replace(
        night, files={name: each for name, each in night.files.items() if "html" not in name}
    ),
    "the report": lambda night: replace(night, report={**night.report, "sentence": "another"}),
    "the log": lambda night: replace(night, log=night.log * 2),
    "a message that was sent twice": lambda night: replace(night, sent=(LINE, LINE)),
    "another message": lambda night: replace(night, sent=("something else",)),
    "an unknown one told twice": lambda night: replace(
        night, report={**night.report, "unknown": [f"message of {MESSAGE}: unknown"] * 2}
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("ended", [True, False], ids=["known", "unknown"])
def test_whatever_else_differs_is_noticed(fault: str, ended: bool) -> None:
    if not ended and fault == "a page that is missing":
        pytest.skip("the page of a night that says so is another one")
    assert verdict(a_night(), FAULTS[fault](a_night(ended=ended))) != []


def test_a_message_that_nobody_sent_is_noticed() -> None:
    assert verdict(a_night(), replace(a_night(), sent=())) != []
    silent = a_night(ended=False)
    assert verdict(a_night(), replace(silent, report={**silent.report, "unknown": []})) != []
