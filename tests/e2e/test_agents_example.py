"""What documents show of research agents works: the example, the researcher of one's own, the lists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from operations.agents.cli import app
from research.agents.team import TEAM
from support.agent_sessions import bars_of_few, book_in, session_in

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/agents.md").read_text(encoding="utf-8")


def run_example(folder: Path) -> str:
    command = [sys.executable, str(ROOT / "examples/autonomous_research_session.py"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LOCKSTEP_HOME": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.no_cover
def test_the_example_makes_a_session_once_and_promotes_nothing(tmp_path: Path) -> None:
    said = run_example(tmp_path / "session")
    assert [int(each) for each in re.findall(r"^trial (\d+): ", said, re.MULTILINE)] == list(range(1, 13))
    assert re.search(
        r"^technical: 12 tried, mean Sharpe ratio -?\d\.\d\d on training bars$", said, re.MULTILINE
    )
    assert "\nNot promoted: " in said
    assert (tmp_path / "session/session.html").stat().st_size > 1_000_000
    assert {each.name.split(".")[0] for each in tmp_path.iterdir()} == {"session"}
    again = run_example(tmp_path / "session")
    assert again == re.sub(r"^trial \d+: .*\n", "", said, flags=re.MULTILINE)


def test_the_researcher_of_ones_own_makes_a_session(tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(from research\.agents\.proposal.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)
    book = book_in(tmp_path)
    kinds = {"technical": 0}
    record = session_in(
        book, bars_of_few(), researcher=names["WeakCloses"](), strategies=5, kinds=kinds
    ).run()  # fmt: skip
    assert [each.trial.status for each in book.strategies(record.id)] == ["evaluated"] * 5
    assert len(book.get_genealogy("1.5", depth=2)) == 3


def test_all_researchers_and_commands_are_in_the_page() -> None:
    assert set(re.findall(r"^\| `(\w+)` \| .*$", PAGE.split("## Researchers")[1], re.MULTILINE)) == set(TEAM)
    named = set(re.findall(r"^lockstep agents ([\w-]+)", PAGE, re.MULTILINE))
    assert named == {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}
