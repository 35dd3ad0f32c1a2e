"""README's commands, in their order, in a fresh clone: each ends as README says, in the time that it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from support.readme import (
    ROOT,
    Clone,
    Command,
    UnstatedCommand,
    clean_environment,
    read_commands,
    read_files,
    walk,
)

README = (ROOT / "README.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout to clone")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    environment = clean_environment() | {"COLUMNS": "160"}
    return Clone(tmp_path_factory.mktemp("fresh") / "lockstep", environment=environment)


def test_every_command_does_what_readme_says(clone: Clone) -> None:
    ran = list(walk(clone))
    assert [each.fault for each in ran if each.fault] == []
    assert len(ran) >= 25


def test_readme_shows_the_files_that_it_names() -> None:
    shown = read_files(README)
    assert shown
    for path, text in shown.items():
        assert yaml.safe_load(text) == yaml.safe_load((ROOT / path).read_text(encoding="utf-8")), path


def fence(*lines: str) -> str:
    return "\n".join(["before", "```sh", *lines, "```", "after", ""])


def test_commands_are_read_with_what_they_state() -> None:
    text = fence(
        "# a remark",
        "make demo    # 4 min: the whole way",
        "",
        "python x \\",
        '    --y "a # b"  # 9 s, exits 1',
    )
    assert read_commands(text + "```python\nprint(1)\n```\n```\nnot a command\n```\n") == (
        Command(text="make demo", seconds=240.0),
        Command(text='python x --y "a # b"', seconds=9.0, code=1),
        Command(text="print(1)\n", seconds=10.0),
    )
    assert read_commands(fence("make notebooks # 30 s to start: a page"))[0].serves


@pytest.mark.parametrize(
    "line", ["make demo", "make demo  # the whole way", "make demo  # some 4 minutes", "x # 4s"]
)
def test_a_command_without_a_duration_is_refused(line: str) -> None:
    with pytest.raises(UnstatedCommand, match=rf"{line.split()[0]}.*must say how long it takes"):
        read_commands(fence(line))


@pytest.mark.parametrize(
    ("text", "seconds", "code", "expected"),
    [
        ("echo why; exit 2", 1, 0, "exit code 2, README says 0\nwhy"),
        ("true", 1, 1, "exit code 0, README says 1"),
        ("make --dry-run nothing", 1, 0, "exit code 2"),
        ("sleep 60", -6.6, 0, "no end after"),
    ],
)
def test_what_is_not_as_stated_is_a_fault(
    clone: Clone, text: str, seconds: float, code: int, expected: str
) -> None:
    fault = clone.run(Command(text=text, seconds=seconds, code=code)).fault
    assert fault is not None
    assert expected in fault


def test_what_a_command_exports_stays(clone: Clone) -> None:
    clone.run(Command(text='export TRIED="$PWD/a b"', seconds=1))
    ran = clone.run(Command(text='echo "$TRIED"', seconds=1))
    assert ran.output == f"{clone.folder}/a b\n"


def test_a_server_that_ends_by_itself_is_a_fault(clone: Clone) -> None:
    command = Command(text="echo no port; exit 3", seconds=1, serves=True)
    assert "exit code 3" in (clone.serve(command, "http://127.0.0.1:9/", settings={}).fault or "")


def test_the_clone_runs_its_own_sources(clone: Clone) -> None:
    if not (clone.folder / ".venv").exists():
        clone.borrow()
    code = "import lockstep, certify; print(*lockstep.__path__, *certify.__path__)"
    paths = clone.run(Command(text=f'.venv/bin/python -c "{code}"', seconds=5)).output.split()
    assert [Path(path).is_relative_to(clone.folder) for path in paths] == [True] * 2
