"""Sessions on record: rows before results, kills, repeats across sessions, what is counted, what is asked."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
from collections import Counter as Counts
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import AgentError, BudgetSpent, ExperimentError
from lockstep.market.history import History
from research.agents import process
from research.agents.database import FROZEN, AgentBook
from research.agents.process import only_one_session
from research.agents.proposal import Proposal, ResearchContext, Trial, TrialMeasures
from research.agents.records import (
    outcome_content,
    proposal_content,
    read_proposal,
    read_trial,
    written,
)
from research.agents.specs import AgentSpec
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from support.agent_sessions import (
    NOON,
    TRAIN,
    bars_of_few,
    book_in,
    made_in,
    plan_by_hand,
    session_in,
)
from support.explorers import CALM, Counter, Dice, measures_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def history() -> History:
    return bars_of_few()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all tables, to be copied: to make them takes longer than a session."""
    folder = tmp_path_factory.mktemp("empty")
    book_in(folder)
    return folder / "agents.db"


@pytest.fixture
def book(tmp_path: Path, empty: Path) -> AgentBook:
    (tmp_path / "agents.db").write_bytes(empty.read_bytes())
    return book_in(tmp_path)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = [sys.executable, "-m", "support.agent_kills", str(tmp_path_factory.mktemp("kills"))]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.no_cover
def test_a_session_that_is_killed_at_any_write_ends_as_if_it_had_not_been(killed: dict[str, Any]) -> None:
    found = killed["session"]
    assert found["different"] == {}
    assert found["writes"] >= 3 * (6 + 2)
    assert found["rows"]["agent_proposal"] == found["rows"]["agent_outcome"] == found["rows"]["ledger"] == 6


@pytest.mark.no_cover
def test_a_gate_or_a_registration_that_is_killed_at_any_write_ends_as_if_it_had_not_been(
    killed: dict[str, Any],
) -> None:
    found, rows = killed["gate and registration"], killed["gate and registration"]["rows"]
    assert found["different"] == {}
    # A look, the verdict, the registration, its event: each before, within and after its transaction.
    assert found["writes"] >= 3 * 4
    assert (rows["look"], rows["replay"], rows["candidate"], rows["agent_event"]) == (1, 1, 1, 3)


class Watching(Counter):
    """A bench that looks at the database when it is asked to evaluate."""

    def __init__(self, book: AgentBook) -> None:
        super().__init__()
        self.seen: list[tuple[int, int, int]] = []
        self._book = book

    def measures(self, spec: AgentSpec) -> TrialMeasures:
        self.seen.append(counts(self._book))
        return super().measures(spec)


def counts(book: AgentBook) -> tuple[int, int, int]:
    """Return the rows of proposals, of outcomes and of the ledger."""
    with closing(sqlite3.connect(book.ledger.database.engine.url.database or "")) as connection:
        tables = ("agent_proposal", "agent_outcome", "ledger")
        found = [connection.execute(f"SELECT count(*) FROM {each}").fetchone()[0] for each in tables]
    return found[0], found[1], found[2]


def test_a_proposal_is_a_row_before_it_is_evaluated(book: AgentBook, history: History) -> None:
    bench = Watching(book)
    session_in(book, history, bench=bench, researcher=Dice()).run()
    assert all(proposals == outcomes + 1 == trials + 1 for proposals, outcomes, trials in bench.seen)
    assert len(bench.seen) > 5


def test_what_is_repeated_or_refused_is_counted(book: AgentBook, history: History) -> None:
    class Wild(Dice):
        def propose(self, context: ResearchContext) -> Proposal:
            found = super().propose(context)
            bad = context.number % 4 == 0
            return replace(found, spec={"capital": 1}) if bad else found

    bench = Counter()
    record = session_in(book, history, bench=bench, researcher=Wild(again=3), strategies=12).run()
    status = Counts(each.trial.status for each in book.strategies(record.id))
    assert status["repeated"] >= 2
    assert status["refused"] >= 2
    assert len(bench.evaluated) == status["evaluated"]
    assert counts(book) == (12, 12, 12)
    assert book.ledger.count("NASDAQ", TRAIN.start, TRAIN.end) == 12
    derived = book.derivation(record)
    assert (derived.kind, derived.replayable) == ("adaptive", True)
    assert book.ledger.head().trials == 12
    book.ledger.verify()


def test_no_session_evaluates_what_an_earlier_one_did(book: AgentBook, history: History) -> None:
    first = session_in(book, history, researcher=Dice(), strategies=8).run()
    bench = Counter()
    again = session_in(book, history, bench=bench, researcher=Dice(), strategies=9).run()
    assert len(bench.evaluated) == 1
    assert Counts(each.trial.status for each in book.strategies(again.id))["repeated"] >= 8
    assert counts(book)[2] == 17
    assert not book.derivation(again).replayable
    assert book.derivation(first).replayable
    other = Counter()
    session_in(book, history, bench=other, researcher=Dice(), strategies=8, bars="b2").run()
    assert len(other.evaluated) >= 7, "other bars are another question"


def test_two_sessions_that_begin_at_once_are_no_replay(book: AgentBook, history: History) -> None:
    one, two = book.begin(plan_by_hand()), book.begin(plan_by_hand(seed=1))
    assert book.derivation(one).replayable
    assert not book.derivation(two).replayable


def test_the_same_session_is_resumed_and_not_made_twice(book: AgentBook, history: History) -> None:
    class Tired(Counter):
        def measures(self, spec: AgentSpec) -> TrialMeasures:
            if len(self.evaluated) == 3:
                raise KeyboardInterrupt
            return super().measures(spec)

    with pytest.raises(KeyboardInterrupt):
        session_in(book, history, bench=Tired()).run()
    done = session_in(book, history).run()
    assert done.id == 1
    assert [each.id for each in book.sessions()] == [1]
    untouched = made_in(Path(str(book.ledger.database.engine.url.database)).parent / "other", history)
    assert done.events[FROZEN] == untouched.events[FROZEN]
    bench = Counter()
    assert session_in(book, history, bench=bench).run().events == done.events
    assert bench.evaluated == []


def test_a_spent_budget_ends_a_session_in_order(book: AgentBook, history: History) -> None:
    class Poor(Dice):
        def propose(self, context: ResearchContext) -> Proposal:
            if context.number > 4:
                raise BudgetSpent("money: 1.00 of 1.00 USD is spent")
            return super().propose(context)

    record = session_in(book, history, researcher=Poor()).run()
    assert record.events[FROZEN]["ended"] == "money: 1.00 of 1.00 USD is spent"
    assert record.events[FROZEN]["trials"] == 4
    assert counts(book) == (4, 4, 4)


def test_winners_are_frozen_with_versions_of_their_models(book: AgentBook, history: History) -> None:
    column = "model:COMP_volatility_h1@v1#0123456789ab"

    def freeze(spec: AgentSpec) -> dict[str, str]:
        return dict.fromkeys(spec.models, column)

    record = session_in(
        book, history, researcher=Dice(), kinds={"hybrid": 3}, strategies=3, freeze=freeze
    ).run()  # fmt: skip
    winners = record.events[FROZEN]["winners"]
    assert winners
    for each in winners:
        assert column in json.dumps(each["config"])
        assert "#" not in json.dumps(each["config"]).replace(column, "")
    best = [each["number"] for each in winners]
    assert best == [each.trial.number for each in book.get_top(5, record.id)][: len(best)]


class Family(Dice):
    """Each proposal has the one before as its parent."""

    def propose(self, context: ResearchContext) -> Proposal:
        found = super().propose(context)
        return replace(found, change=f"after {context.number - 1}", move="shift")


def test_the_strategy_database_answers(book: AgentBook, history: History) -> None:
    record = session_in(book, history, researcher=Family()).run()
    top = book.get_top(3)
    assert [each.trial.fitness for each in top] == sorted((each.trial.fitness for each in top), reverse=True)
    assert top[0].decision.startswith("leads: fitness ")
    assert [each.trial.number for each in book.get_recent(3)] == [9, 8, 7]
    readers = book.search_by_model("volatility_h1")
    assert {each.trial.proposal.kind for each in readers} == {"hybrid", "ml"}
    assert len(readers) == sum(each.trial.proposal.kind != "technical" for each in book.strategies())
    assert book.search_by_model("direction") == []
    family = book.get_genealogy("1.9", depth=2)
    assert [(back, each.name) for back, each in family] == [(0, "1.9"), (1, "1.8"), (2, "1.7")]
    assert family[0][1].trial.proposal.change == "after 8"
    assert sum(value for name, value in top[0].vector.items() if name.startswith("family")) == pytest.approx(
        1
    )
    for niche in book.get_underexplored_areas(record.id):
        assert niche not in {each.trial.niche for each in book.strategies()}
    for name in ("1.99", "x", "1"):
        with pytest.raises(AgentError, match="there is none; name session and number"):
            book.strategy(name)
    with pytest.raises(AgentError, match="session 7: there is none; there are 1"):
        book.session(7)


def test_a_strategy_of_an_earlier_session_is_a_parent(book: AgentBook, history: History) -> None:
    session_in(book, history, researcher=Family()).run()
    best = book.get_top(1)[0]

    class Heir(Dice):
        def propose(self, context: ResearchContext) -> Proposal:
            assert context.earlier[0].id == best.trial.id
            return replace(super().propose(context), parents=(), from_id=context.earlier[0].id)

    session_in(book, history, researcher=Heir(), seed=3).run()
    found = book.get_genealogy("2.1", depth=1)
    assert [each.name for _, each in found] == ["2.1", best.name]


def test_what_comes_back_is_what_was_written() -> None:
    nan, inf = math.nan, math.inf
    measures = measures_of(0.1 + 0.2, by_regime={"bear": -inf, "bull": nan}, largest=nan, behaviour="ab")
    proposal = Proposal(
        spec={"long_entry": {"id": "ibs", "below": 0.1}}, models={"calm": CALM}, kind="hybrid",
        parents=(3, 1), from_id=7, change="x", move="y", rationale="z",
    )  # fmt: skip
    assert read_proposal(json.loads(written(proposal_content(proposal)))) == proposal
    trial = read_trial(
        4, 9, proposal, "evaluated",
        json.loads(written({**outcome_content(trial_of(proposal, measures)), "kind": "hybrid"})),
    )  # fmt: skip
    assert repr(trial.measures) == repr(measures)


def trial_of(proposal: Proposal, measures: TrialMeasures) -> Trial:
    return Trial(number=4, id=9, proposal=proposal, status="evaluated", measures=measures)


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"id": "ibs", "below": 0.2}
    for _ in range(depth):
        found = {"not": found}
    return found


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"long_entry": {"id": "x" * 5_000_000, "below": 1}}, "proposal: is 5,000,"),
        ({"long_entry": nested(100_000)}, "proposal: nested without end; make it flatter"),
        ({"long_entry": nested(400), "max_bars": 3}, "proposal: long_entry: nested deeper than 6 levels"),
        ({"long_entry": {"id": "ibs", "below": math.nan}, "max_bars": 3}, "proposal: long_entry.below"),
        ({1: object()}, "proposal: unknown key '1'"),
    ],
    ids=["5 MB", "100,000 levels", "400 levels", "NaN", "an object"],
)
def test_whatever_is_proposed_is_a_row(
    book: AgentBook, history: History, spec: Mapping[Any, Any], said: str
) -> None:
    class Hostile:
        name, least = "hostile", 0

        def propose(self, context: ResearchContext) -> Proposal:
            return Proposal(spec=spec)

    bench = Counter()
    session_in(book, history, bench=bench, researcher=Hostile(), strategies=2, kinds={"technical": 0}).run()
    assert bench.evaluated == []
    for each in book.strategies():
        assert each.trial.status == "refused"
        assert each.trial.findings[0].startswith(said)
        assert len(each.trial.findings[0]) <= 500


def test_one_name_in_two_folders_is_two_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begun_in(name: str) -> AgentBook:
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        return AgentBook(Ledger(Database.open("sqlite:///agents.db")))

    with only_one_session(begun_in("one"), plan_by_hand()), only_one_session(begun_in("two"), plan_by_hand()):
        pass


def test_one_session_at_a_time(book: AgentBook, history: History) -> None:
    with only_one_session(book, plan_by_hand()):
        with pytest.raises(AgentError) as found, only_one_session(book, plan_by_hand()):
            raise AssertionError("two at once")
    said = str(found.value)
    assert said.startswith(
        f"a session of COMP: process {os.getpid()} is at work on a session of COMP, since "
    )
    assert said.endswith(" UTC; let it finish")
    with only_one_session(book, plan_by_hand()):
        pass


def test_a_database_that_cannot_be_written_is_refused_in_one_line(
    book: AgentBook, history: History, tmp_path: Path
) -> None:
    session_in(book, history, strategies=7, researcher=Dice()).run()
    before = counts(book)
    readonly = AgentBook(Ledger(Database.reading(f"sqlite:///{tmp_path / 'agents.db'}")), now=lambda: NOON)
    with pytest.raises(ExperimentError, match="readonly database"):
        session_in(readonly, history, seed=1)
    assert counts(book) == before
    assert len(book.sessions()) == 1


def test_a_process_that_sees_too_much_makes_no_session(book: AgentBook) -> None:
    assert process.UNTIL is None
    with pytest.raises(AgentError) as found:
        process.explored(book, plan_by_hand())
    assert str(found.value).startswith(
        "this process can see all bars, and a session may see none after 2018-"
    )
    assert counts(book) == (0, 0, 0)


def test_changed_code_is_another_session(book: AgentBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "UNTIL", TRAIN.end)
    with pytest.raises(AgentError, match="and the session was begun with c1: what it would do now"):
        process.explored(book, plan_by_hand())
    assert book.sessions() == []
