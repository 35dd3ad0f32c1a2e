"""`lockstep agents`, from a session in a process of its own to a registered candidate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lockstep.errors import LockstepError
from operations.agents.cli import app
from research.agents.database import AgentBook
from research.agents.plan import plan_of
from research.agents.process import only_one_session
from support.agent_sessions import book_in, settings_of
from support.nights import dump

ROOT = Path(__file__).resolve().parents[2]
DICE = "support.explorers:Dice"
SESSION = (
    "session", "--researcher", DICE, "--strategies", "6", "--kinds", "technical", "--each", "0",
    "--symbol", "COMP", "--start", "2004-01-02", "--end", "2014-12-31", "--goal", "dips",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def own_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path_factory.mktemp('agents') / 'agents.db'}")
        patch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(ROOT / "tests"))))
        patch.chdir(tmp_path_factory.mktemp("desk"))
        yield


def said(*words: str) -> str:
    """Return what a command prints; its refusal is raised."""
    done = CliRunner().invoke(app, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def refused(*words: str) -> str:
    with pytest.raises(LockstepError) as found:
        said(*words)
    text = str(found.value)
    assert "\n" not in text
    return text


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "budget 0": (("--strategies", "0"), "0 strategies: a session tries at least 1; give --strategies 100"),
    "below the kinds": (("--each", "7"), "7 technical are 7 by themselves; give at least"),
    "below the screen": (
        ("--researcher", "screen", "--strategies", "20"), "20 strategies: 48 of the researcher's screen",
    ),
    "nobody": (("--researcher", "scren"), "there is none of this name; did you mean 'screen'?"),
    "a kind": (("--kinds", "technicl"), "'technicl': there is no such kind; did you mean 'technical'?"),
    "a symbol": (("--symbol", "CMP"), "symbol 'CMP': not in instruments.yml; did you mean 'COMP'?"),
    "no bars": (("--symbol", "ES"), "ES"),
    "dates": (("--start", "2019-01-02", "--end", "2018-01-02"), "session: start 2019-01-02, end 2018-01-02"),
    "a date": (("--start", "soon"), "start 'soon': must be a date like 2024-01-31"),
    "too short": (("--start", "2013-01-02"), "COMP, 2013-01-02 to 2014-12-31: 335 sessions to train on"),
}  # fmt: skip


@pytest.mark.no_cover
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_begun(case: str) -> None:
    words, expected = BAD[case]
    given = dict(zip(SESSION[1::2], SESSION[2::2], strict=True)) | dict(
        zip(words[::2], words[1::2], strict=True)
    )
    text = refused("session", *(each for pair in given.items() for each in pair))
    assert expected in text
    assert said("list").startswith("no session was begun yet")


@pytest.mark.no_cover
def test_two_sessions_at_once_are_refused_and_nothing_is_begun() -> None:
    plan = plan_of(settings_of())
    with only_one_session(AgentBook.open(), plan):
        text = refused(*SESSION)
    assert text.startswith(
        f"a session of COMP: process {os.getpid()} is at work on a session of COMP, since "
    )
    assert text.endswith("; let it finish")
    assert said("list").startswith("no session was begun yet")


@pytest.mark.no_cover
def test_a_database_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book_in(tmp_path)
    before = dump(tmp_path / "agents.db")
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///file:{tmp_path / 'agents.db'}?mode=ro&uri=true")
    assert "readonly database" in refused(*SESSION)
    assert dump(tmp_path / "agents.db") == before


def test_what_is_not_there_is_one_line() -> None:
    for words in (("show", "3"), ("resume", "3"), ("gate", "3"), ("register", "3"), ("top", "3")):
        assert refused(*words) == "session 3: there is none; there are none yet"
    assert refused("genealogy", "3.1").startswith("strategy '3.1': there is none")


def test_unknown_settings_are_named(tmp_path: Path) -> None:
    config = tmp_path / "session.yml"
    config.write_text("least_trade: 5\n")
    text: Any = refused(*SESSION, "--config", str(config))
    assert text == f"{config}: unknown key 'least_trade'; did you mean 'least_trades'?"


@pytest.mark.no_cover
def test_a_session_from_its_first_proposal_to_its_candidate(tmp_path: Path) -> None:
    config = tmp_path / "session.yml"
    config.write_text("least_trades: 5\nterms: {capital: 50000}\n")
    told = said(*SESSION, "--config", str(config))
    assert told.startswith("session 1\n")
    assert "support.explorers:Dice on COMP, 2004-01-02 to 2011-05-01, 6 of 6 strategies, seed 0" in told
    assert "goal: dips" in told
    assert "Not promoted: nobody judged the winner yet; `lockstep agents gate 1` does." in told
    assert told.endswith("page: results/agents/session-1.html\n")
    again = said(*SESSION, "--config", str(config))
    assert again == told
    listed = said("list")
    assert "6 of 6" in listed
    assert "complete" in listed
    best = said("top", "1", "--most", "1")
    assert "leads: fitness " in best
    assert said("genealogy", "1.3").count("\n") == 3
    assert refused("resume", "1") == "session 1: is complete; `lockstep agents show 1` shows it"
    verdict = said("gate", "1", "--replays", "19")
    assert "of 19 replays on redrawn bars found as much: p = " in verdict
    assert "  validation, 2011-05-02 to 2013-03-01: trades " in verdict
    if "fitness" in verdict and ": refused" in verdict:
        assert "its gate refused it" in refused("register", "1")
    else:
        assert "its history does not count: the search could learn from it" in said("register", "1")
    assert verdict.splitlines()[1] in said("show", "1")
