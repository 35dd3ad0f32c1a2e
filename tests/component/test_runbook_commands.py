"""Commands as runbooks and the page on watching write them: options exist, required ones are given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from operations.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([
    *ROOT.glob("deploy/runbooks/*.md"), ROOT / "docs" / "monitoring.md", ROOT / "docs" / "retraining.md",
])  # fmt: skip
BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each `lockstep` command in blocks of shell; `<order id>` is one word."""
    for block in BLOCK.findall(text):
        for line in re.sub(r"\\\n *", " ", block).splitlines():
            words = shlex.split(re.sub(r"<[^>]*>", "placeholder", line), comments=True)
            if words[:1] == ["lockstep"]:
                yield words[1:]


def fault(words: list[str]) -> str:
    """Return why the command line would refuse words, before it looks at any value; empty: it takes them."""
    # Typer has a copy of click in it, or imports it: its classes are asked for what they can do.
    command: Any = typer.main.get_command(app)
    rest = list(words)
    try:
        while hasattr(command, "resolve_command"):
            _, command, rest = command.resolve_command(command.context_class(command), rest)
        given, _, _ = command.make_parser(command.context_class(command)).parse_args(rest)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        return str(error.format_message())
    asked = [each.name for each in command.params if each.required and not each.envvar]
    missing = [name for name in asked if given.get(name) is None and "help" not in given]
    return ", ".join(f"{name} is missing" for name in missing)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_command_can_be_typed_as_it_is_written(page: Path) -> None:
    found = {shlex.join(words): fault(words) for words in commands(page.read_text(encoding="utf-8"))}
    assert {words: why for words, why in found.items() if why} == {}


def test_pages_contain_commands() -> None:
    texts = {page.name: list(commands(page.read_text(encoding="utf-8"))) for page in PAGES}
    assert ["status"] in texts["quarantined-bar.md"]
    assert sum(words[0] == "monitor" for found in texts.values() for words in found) > 15


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("lockstep status --fil x", "No such option"),
        ("lockstep statsu", "No such command"),
        ("lockstep data export fills --journal \\\n    x.db", "out is missing"),
        ("lockstep data exprot fills --out x", "No such command"),
        ("lockstep orders list --sure", "No such option"),
    ],
)
def test_what_cannot_be_typed_is_noticed(line: str, words: str) -> None:
    ((*found,),) = [commands(f"text\n\n```sh\n{line}   # a comment\n```\n")]
    assert len(found) == 1
    assert words in fault(found[0])
