"""A night whose space is searched by agents: its steps, a cut in its session, registration, its page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from operations.nightly.night import NightMade, Nights
from operations.nightly.pipeline import STEPS
from research.agents.database import FROZEN, GATE, REGISTERED, AgentBook
from research.ledger.candidates import candidates
from research.pipeline.execution import Outcome, StepOutcome, digest_of
from support.nights import ROOT, dump, ideas, nights, written

CUTTER = "support.explorers:Cutter"
OF_SESSIONS = ("agent_session", "agent_proposal", "agent_outcome", "ledger", "space")


def night_in(folder: Path, mark: Path, **changes: Any) -> Nights:
    """Return the nights of a folder with one such space; the clock is that of the session's process."""
    own = ideas({"researcher": CUTTER, "options": {"mark": str(mark)}}, **changes)
    rules = {"least_trades": 0, "days_between": 0, "most_per_night": 2}
    return nights(folder, now=datetime.now(UTC), spaces=[own], registrations=rules)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A night, and what its start came to."""

    folder: Path
    nights: Nights
    made: NightMade
    heard: list[StepOutcome]

    @classmethod
    def of(cls, folder: Path, found: Nights) -> Made:
        """Make it."""
        heard: list[StepOutcome] = []
        return cls(folder=folder, nights=found, made=found.make(heard.append), heard=heard)

    @property
    def report(self) -> Any:
        return json.loads(self.made.page.with_suffix(".json").read_text())

    @property
    def book(self) -> AgentBook:
        return AgentBook(self.nights.ledger)


@pytest.fixture(scope="module", autouse=True)
def _paths() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(ROOT / "tests"))))
        yield


@pytest.fixture(scope="module")
def mark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is there when the researcher has killed a night."""
    return tmp_path_factory.mktemp("mark") / "killed"


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A night that died in its session: how the command ended, what it left, and what a second start made."""

    code: int
    begun: dict[str, list[Any]]
    after: Made


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory, mark: Path) -> Cut:
    folder = tmp_path_factory.mktemp("cut")
    night_in(folder, mark)  # writes the configuration
    command = [sys.executable, str(ROOT / "scripts/pipeline.py"), "run"]
    environment = {**os.environ, "LOCKSTEP_DB": f"sqlite:///{folder / 'experiments.db'}"}
    done = subprocess.run(
        [*command, "--config", str(folder / "nightly.yml")], env=environment, cwd=folder, check=False,
        capture_output=True,
    )  # fmt: skip
    begun = dump(folder / "experiments.db")
    return Cut(code=done.returncode, begun=begun, after=Made.of(folder, night_in(folder, mark)))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, mark: Path, cut: Cut) -> Made:
    """A night that nobody cuts: the mark is there."""
    assert cut is not None
    folder = tmp_path_factory.mktemp("night")
    return Made.of(folder, night_in(folder, mark))


@pytest.mark.no_cover
def test_a_night_that_is_cut_in_its_session_ends_as_one_that_is_not(cut: Cut, first: Made) -> None:
    assert cut.code == -9
    assert [len(cut.begun[each]) for each in ("agent_session", "agent_proposal")] == [1, 3]
    assert cut.begun["agent_event"] == []
    kept = [each.name for each in cut.after.heard if each.outcome is Outcome.KEPT]
    assert kept == [each.name for each in STEPS[: len(kept)]]
    assert STEPS[len(kept)].name == "agents"
    rows, whole = (dump(each.folder / "experiments.db") for each in (cut.after, first))
    for table in OF_SESSIONS:
        assert rows[table] == whole[table], table
    assert len(whole["agent_outcome"]) == 6
    assert cut.after.report["sessions"] == first.report["sessions"]


@pytest.mark.no_cover
def test_a_night_makes_judges_and_shows_a_session(first: Made) -> None:
    assert {each.outcome for each in first.heard} == {Outcome.DONE}
    record = first.book.session(1)
    assert set(record.events) >= {FROZEN, GATE}
    (told,) = first.report["sessions"]
    assert (told["space"], told["symbol"], told["session"], told["trials"]) == ("ideas", "COMP", 1, 6)
    assert told["verdict"] == record.events[GATE]["verdict"]
    assert "of 19 replays on redrawn bars found as much" in told["reason"]
    page = first.made.page.parent / told["page"]
    assert page == first.folder / "results/agents/session-1.html"
    assert "Session 1 of research agents" in page.read_text()
    assert f'<a href="{told["page"]}">session 1</a>' in first.made.page.read_text()
    train = record.plan.train
    assert first.nights.ledger.count(record.plan.family, train.start, train.end) == 6


@pytest.mark.no_cover
def test_the_session_is_that_of_the_command(first: Made) -> None:
    """By its key, which is over settings, dates, bars and code."""
    from operations.agents.asked import with_kinds
    from research.agents.plan import AgentSettings, plan_of

    settings = AgentSettings.model_validate(
        with_kinds({**first.nights.config.explored[0].agents.model_dump(mode="json"), "symbol": "COMP"})
    )
    assert plan_of(settings).key == first.book.session(1).key


@pytest.mark.no_cover
def test_a_second_start_has_nothing_new(first: Made, mark: Path) -> None:
    before, rows = digest_of(first.folder / "results"), dump(first.folder / "experiments.db")
    again = night_in(first.folder, mark)
    assert again.nothing_new == "2018-12-31"
    assert {each.outcome for each in Made.of(first.folder, again).heard} == {Outcome.KEPT}
    assert dump(first.folder / "experiments.db") == rows
    assert digest_of(first.folder / "results") == before


@pytest.mark.no_cover
def test_another_session_is_foretold_made_and_registered(first: Made, mark: Path) -> None:
    """A second search of the same days cannot be replayed: only what comes later speaks for its winner."""
    before = digest_of(first.folder)
    would = {each.name: each for each in night_in(first.folder, mark, sessions=2).rehearse()}
    assert would["agents"].outcome is Outcome.WOULD
    assert would["agents"].sentence == (
        f"after candidates; space ideas: session 2 of 2 on COMP, 6 strategies by {CUTTER}"
    )
    assert would["sweep"].outcome is Outcome.WOULD
    # The file of the configuration is written anew by the test itself.
    written(first.folder, spaces=[])
    made = Made.of(first.folder, night_in(first.folder, mark, sessions=2, registers="forward"))
    assert before != digest_of(first.folder)
    (told,) = made.report["sessions"]
    assert (told["session"], told["number"], told["verdict"]) == (2, 1, "forward")
    assert made.book.session(2).plan.settings.seed == 1
    candidate = next(each for each in candidates(made.nights.ledger) if each.name == told["name"])
    assert (candidate.searched, candidate.e_history) == ("adaptive", 1.0)
    assert made.book.session(2).events[REGISTERED]["candidate"] == candidate.name
    assert made.report["sentence"] == f"nothing promoted; registered for forward evidence: {candidate.name}"
    assert 2 in [each.content.get("session") for each in made.nights.context.effects.all()]
    assert "registered as" in (first.folder / "results/agents/session-2.html").read_text()
    over = night_in(first.folder, mark, sessions=2, registers="forward")
    assert over.nothing_new == "2018-12-31"
