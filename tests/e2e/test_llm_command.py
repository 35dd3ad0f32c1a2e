"""`lockstep agents session --researcher llm`: the command and its process, a server on loopback, a tape."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lockstep.errors import AgentError
from operations.agents.cli import app
from research.agents.llm_wire import OFFLINE
from support.http_faults import Behaviour, FaultServer, answer
from support.llm_server import ModestModel, options, url_of
from support.nights import dump

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-live-7fQ2xV9bKt41LmZp"
STRATEGIES, REFUSED_AFTER = 6, 3
SESSION = (
    "session", "--researcher", "llm", "--kinds", "technical", "--each", "0", "--goal", "calm dips",
    "--strategies", str(STRATEGIES), "--symbol", "COMP", "--start", "2004-01-02", "--end", "2014-12-31",
)  # fmt: skip


@dataclass
class Gatekeeper:
    """A modest model behind a door that shuts after some requests, until somebody opens it."""

    model: ModestModel = field(default_factory=ModestModel)
    shut: bool = True

    def __call__(self, request: tuple[str, Any]) -> Behaviour:
        if self.shut and self.model.asked == REFUSED_AFTER:
            return answer(401, {"error": f"Incorrect API key provided: {KEY}"})
        return self.model(request)


@dataclass(frozen=True, kw_only=True)
class LlmDesk:
    """A folder in which commands are run, and all that they said."""

    folder: Path
    said: list[str] = field(default_factory=list)

    def run(self, *words: str) -> str:
        """Return what a command prints; its refusal is raised."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LOCKSTEP_DB", f"sqlite:///{self.folder / 'agents.db'}")
            patch.chdir(self.folder)
            done = CliRunner().invoke(app, list(words))
        self.said.append(f"{done.output}{done.exception or ''}")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    @property
    def tape(self) -> Path:
        """The cassette of its session."""
        (found,) = self.folder.glob("results/agents/llm-*.jsonl")
        return found


def begun(folder: Path, url: str) -> LlmDesk:
    """Return a desk with the settings of a session; the model has read up to 2008."""
    own = options(url, key_variable="MY_KEY", knowledge_until="2008-12-31", seconds=5.0)
    (folder / "llm.yml").write_text(yaml.safe_dump({"options": own, "least_trades": 5}))
    return LlmDesk(folder=folder)


@dataclass(frozen=True, kw_only=True)
class Lived:
    """A desk whose session was refused its key, and went on; how often the model was asked; its address."""

    desk: LlmDesk
    refusal: str
    told: str
    asked: int
    url: str


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(ROOT / "tests"))))
        patch.setenv("MY_KEY", KEY)
        door = Gatekeeper()
        with FaultServer(choose=door) as server:
            desk = begun(tmp_path_factory.mktemp("desk"), url_of(server))
            with pytest.raises(AgentError) as refused:
                desk.run(*SESSION, "--config", "llm.yml")
            door.shut = False
            told = desk.run("resume", "1")
            yield Lived(
                desk=desk, refusal=str(refused.value), told=told, asked=door.model.asked, url=url_of(server)
            )


@pytest.mark.no_cover
def test_a_refused_key_is_one_line_and_the_session_goes_on(lived: Lived) -> None:
    assert lived.refusal.startswith("language model: status 401: the key is refused; correct it: ")
    assert "[secret]" in lived.refusal
    assert "\n" not in lived.refusal
    assert f"llm on COMP, 2004-01-02 to 2011-05-01, {STRATEGIES} of {STRATEGIES} strategies" in lived.told
    assert "goal: calm dips" in lived.told
    assert "up to 2008-12-31, which the model may have read: Sharpe " in lived.told
    assert "; later, out of sample: Sharpe " in lived.told
    # Nothing is asked twice: as many answers as there are lines.
    assert lived.asked == len(lived.desk.tape.read_text().splitlines()) >= STRATEGIES


@pytest.mark.no_cover
def test_its_gate_asks_for_bars_that_come_later(lived: Lived) -> None:
    verdict = lived.desk.run("gate", "1")
    assert "forward evidence only: a language model has read the history" in verdict
    assert "training: out of sample only after 2008-12-31: trades " in verdict
    lived.desk.run("report", "1")
    page = (lived.desk.folder / "results/agents/session-1.html").read_text()
    assert "What the language model may have read" in page
    assert "later, out of sample" in page


@pytest.mark.no_cover
def test_the_tape_makes_the_same_ledger_where_nobody_answers(
    lived: Lived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, other = lived.asked, begun(tmp_path, lived.url)
    (tmp_path / "results/agents").mkdir(parents=True)
    shutil.copy(lived.desk.tape, tmp_path / "results/agents")
    monkeypatch.setenv(OFFLINE, "1")
    monkeypatch.delenv("MY_KEY")
    other.run(*SESSION, "--config", "llm.yml")
    rows, again = (dump(each.folder / "agents.db") for each in (lived.desk, other))
    for table in ("agent_session", "agent_proposal", "agent_outcome", "ledger"):
        assert again[table] == rows[table], table
    assert len(again["ledger"]) == STRATEGIES
    assert lived.asked == asked
    # The control: another goal is another question.
    with pytest.raises(AgentError, match="the cassette has no answer for this request") as refused:
        other.run(*SESSION, "--goal", "wild dips", "--config", "llm.yml")
    assert "\n" not in str(refused.value)


@pytest.mark.no_cover
def test_the_key_is_nowhere(lived: Lived) -> None:
    """In no file of the desk, database and page included, and in nothing that was said."""
    files = [each for each in lived.desk.folder.rglob("*") if each.is_file()]
    assert {each.suffix for each in files} >= {".db", ".jsonl", ".html", ".yml"}
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path
    assert not any(KEY in each for each in lived.desk.said)
