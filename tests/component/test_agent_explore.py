"""`lockstep.explore` before anything begins, and a session as a notebook sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lockstep import RulesConfig, explore
from lockstep.errors import AgentError, ConfigError, LockstepError
from operations.agents.explore import ResearchSession
from research.agents.database import FROZEN, AgentBook
from support.agent_sessions import bars_of_few, book_in, plan_by_hand, session_in
from support.explorers import Counter, Dice
from support.pages import HOSTILE
from support.reports import Page


def session_of(folder: Path, **changes: Any) -> ResearchSession:
    """Return a session that was made on a bench without bars."""
    book = book_in(folder)
    record = session_in(book, bars_of_few(), researcher=Dice(), bench=Counter(), **changes).run()
    return ResearchSession(number=record.id, book=book, page=folder / "session.html")


def test_a_session_shows_itself_with_its_winner(tmp_path: Path) -> None:
    found = session_of(tmp_path, kinds={"technical": 3}, strategies=12, goal=f"dips{HOSTILE}")
    assert found.top is not None
    assert isinstance(found.winner, RulesConfig)
    assert found.winner.name == f"agents_COMP_1_{found.top.trial.number}"
    assert found.winner.long_entry is not None
    assert found.verdict.startswith("Not promoted: ")
    assert len(found.summary.strategies) == 12
    assert found.plot().data
    shown = Page(found._repr_html_())
    assert "12 of 12 strategies" in shown.text
    assert f"goal: dips{HOSTILE}" in shown.text


def test_where_nothing_can_win_there_is_no_winner(tmp_path: Path) -> None:
    book = book_in(tmp_path)
    record = book.begin(plan_by_hand())
    book.happened(record, FROZEN, {"winners": [], "objective": None, "trials": 0, "ended": ""})
    found = ResearchSession(number=record.id, book=book, page=tmp_path / "session.html")
    assert (found.winner, found.top) == (None, None)
    assert found.verdict == "Not promoted: no strategy has enough trades in enough folds to win."


BAD: dict[str, tuple[dict[str, Any], type[LockstepError], str]] = {
    "budget 0": ({"strategies": 0}, AgentError, "0 strategies: a session tries at least 1"),
    "below the screen": ({"strategies": 20, "kinds": "technical"}, AgentError, "48 of the researcher's"),
    "nobody": ({"researcher": "scren"}, ConfigError, "did you mean 'screen'?"),
    "a kind": ({"kinds": ["technicl"]}, ConfigError, "kinds 'technicl': there is no such kind; did you mean"),
    "a symbol": ({"symbol": "CMP", "researcher": "random"}, ConfigError, "did you mean 'COMP'?"),
    "a day": ({"start": "soon"}, ConfigError, "start 'soon': must be a date like 2024-01-31"),
    "terms": ({"terms": {"capitl": 1}}, ConfigError, "explore: unknown key 'terms.capitl'; did you mean"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_begun(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, kind, expected = BAD[case]
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{tmp_path / 'agents.db'}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as refused:
        explore(**given)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)
    assert AgentBook.open().sessions() == []
    assert not (tmp_path / "results").exists()
