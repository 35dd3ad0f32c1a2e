"""What is not looked at costs no line that is: coverage sees all before and after it, and nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.processes import ROOT, python

MEASURED = """
from support.untraced import untraced


def hidden(depth):
    if depth:
        return wrapped(depth - 1)
    raise KeyError


wrapped = untraced(hidden)


def outer(depth):
    try:
        inner(depth)
    except KeyError:
        before = 1
    after = 2
    return after


def inner(depth):
    here = 1
    wrapped(depth)
    return here


def last():
    return 3
"""
MEASURING = """
import sys

import coverage

measuring = coverage.Coverage(branch=True, data_file=None, include=["*/measured.py"], config_file=False)
measuring.start()
import measured

{planted}
for depth in range(3):
    measured.outer(depth)
measured.last()
measuring.stop()
_, statements, _, missing, _ = measuring.analysis2("measured.py")
print(sorted(set(statements) - set(missing)))
"""
LINES = MEASURED.splitlines()


def seen(folder: Path, planted: str = "") -> set[str]:
    """Return the lines that coverage saw; `planted` runs before the functions do."""
    (folder / "measured.py").write_text(MEASURED, encoding="utf-8")
    done = python(
        "-c",
        MEASURING.format(planted=planted),
        folder=folder,
        environment={"PYTHONPATH": str(ROOT / "tests")},
    )
    assert done.returncode == 0, done.stderr
    return {LINES[number - 1].strip() for number in map(int, done.stdout.strip("[]\n").split(", "))}


HIDDEN = {"if depth:", "return wrapped(depth - 1)", "raise KeyError"}
ALL_ELSE = {"inner(depth)", "before = 1", "after = 2", "return after", "here = 1", "return 3"}


def test_all_lines_around_it_are_seen(tmp_path: Path) -> None:
    found = seen(tmp_path)
    assert found >= ALL_ELSE
    assert not found & HIDDEN


def test_a_fork_is_not_traced_and_its_parent_is(tmp_path: Path) -> None:
    forked = """
import os
from support.untraced import untrace_others
untrace_others()
child = os.fork()
if not child:
    os._exit(0 if sys.gettrace() is None else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    assert seen(tmp_path, forked) >= ALL_ELSE
    with pytest.raises(AssertionError, match="in <module>\\n  AssertionError"):
        seen(tmp_path, forked.replace("untrace_others()\n", ""))


@pytest.mark.parametrize(
    ("planted", "lost"),
    [
        ("measured.wrapped = measured.hidden", False),
        ("measured.wrapped = lambda depth: (sys.settrace(None), measured.hidden(0))", True),
    ],
    ids=["it is traced", "it is never traced again"],
)
def test_what_would_be_wrong_is_noticed(tmp_path: Path, planted: str, lost: bool) -> None:
    found = seen(tmp_path, planted)
    assert (ALL_ELSE <= found) is not lost
    assert bool(found & HIDDEN) is not lost
