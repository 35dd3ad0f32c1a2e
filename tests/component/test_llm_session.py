"""A recorded session of 30 proposals: made again without a network, and what changes when anything does."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import AgentError, BudgetSpent
from lockstep.identity import json_digest
from lockstep.market.history import History
from research.agents import llm_wire
from research.agents.cassettes import Cassette
from research.agents.database import FROZEN
from research.agents.llm import MOST_FAILURES, LlmResearcher
from research.agents.llm_context import told, without_names
from research.agents.llm_wire import FAILED, OFFLINE
from research.agents.proposal import KnownModel, Proposal, Trial
from research.zoo.model_spec import ModelSpec
from support.agent_sessions import bars_of_few
from support.explorers import measures_of
from support.http_faults import Behaviour, FaultServer
from support.llm_server import (
    ADVERSARIES,
    GOOD,
    context_of,
    modest_server,
    options,
    tells,
    url_of,
)
from support.llm_sessions import NOBODY, RECORDED, STRATEGIES, llm_session
from support.nights import dump

LEDGER = "cddf651c5175"
COLUMN = "model:COMP_volatility_h1@v3#3f2a9c1b04de"
ZOO = KnownModel(
    name="volatility_h1", version="v3", column=COLUMN, spec=ModelSpec(task="volatility", features=("ibs",)),
    note="beat v2 on COMP since 2020-01-02", used_by=3, mean_sharpe=0.5, best="3.17",
)  # fmt: skip


@pytest.fixture(scope="module")
def history() -> History:
    return bars_of_few()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request may leave, and none can."""
    monkeypatch.setenv(OFFLINE, "1")
    monkeypatch.setattr(llm_wire, "post", lambda *given, **more: pytest.fail("a request was posted"))


def digest(folder: Path) -> str:
    return json_digest(dump(folder / "agents.db"), default=str)


@pytest.mark.usefixtures("offline")
def test_the_recorded_session_is_made_again_without_a_network(tmp_path: Path, history: History) -> None:
    """Its ledger has the hash that it had when it was recorded; what was refused is evaluated by nobody."""
    record, bench = llm_session(tmp_path, history, RECORDED)
    assert record.events[FROZEN]["trials"] == STRATEGIES
    assert record.events[FROZEN]["ended"] == ""
    rows = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    assert len(rows) > STRATEGIES  # some were asked again
    assert {each["knowledge_until"] for each in rows} == {"2017-12-29"}
    outcomes = dump(tmp_path / "agents.db")["agent_outcome"]
    statuses = [next(name for name in row if name in STATUSES) for row in outcomes]
    assert statuses.count("refused") >= 3
    assert statuses.count("repeated") >= 1
    assert len(bench.evaluated) == statuses.count("evaluated") > 10
    assert digest(tmp_path)[:12] == LEDGER


FEW = 5
HOSTILE = (
    "broken JSON", "NaN", "unknown field", "code in an id", "look-ahead id", "tree of 400 levels", "HTML",
    "text of 5 MB", "unknown tool", "refusal", "prompt injection obeyed", "nothing to trade",
)  # fmt: skip
STATUSES = ("evaluated", "repeated", "refused", "failed")


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, history: History) -> tuple[Path, int]:
    """A session of a few proposals, with its cassette, and how often the model was asked."""
    folder = tmp_path_factory.mktemp("short")
    with modest_server() as (model, server):
        llm_session(folder, history, folder / "tape.jsonl", strategies=FEW, url=url_of(server))
        return folder, model.asked


@pytest.mark.usefixtures("offline")
def test_another_context_has_no_answer(tmp_path: Path, history: History, short: tuple[Path, int]) -> None:
    with pytest.raises(AgentError, match="the cassette has no answer for this request") as refused:
        llm_session(tmp_path, history, short[0] / "tape.jsonl", strategies=FEW + 1)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("offline")
def test_an_answer_that_was_changed_gives_another_ledger(
    tmp_path: Path, history: History, short: tuple[Path, int]
) -> None:
    """The last answer of the last proposal: no context follows that would not be found."""
    *lines, last = (short[0] / "tape.jsonl").read_text().splitlines()
    changed = last.replace(f"idea {FEW}", "another idea")
    assert changed != last
    (tmp_path / "tape.jsonl").write_text("\n".join([*lines, changed, ""]))
    llm_session(tmp_path, history, tmp_path / "tape.jsonl", strategies=FEW)
    assert digest(tmp_path) != digest(short[0])


def test_a_session_that_was_killed_asks_nothing_twice(
    tmp_path: Path, history: History, short: tuple[Path, int]
) -> None:
    """Killed after some answers were kept: what it asks then is what was missing."""
    folder, asked = short
    whole, tape = folder / "tape.jsonl", tmp_path / "tape.jsonl"
    kept = whole.read_bytes().splitlines(keepends=True)
    tape.write_bytes(b"".join(kept[:3]) + kept[3][:40])  # the fourth breaks off
    with modest_server() as (model, server):
        model.asked = 3
        llm_session(tmp_path, history, tape, strategies=FEW, url=url_of(server))
        assert model.asked == asked
    assert tape.read_bytes() == whole.read_bytes()
    assert digest(tmp_path) == digest(folder)


def test_a_budget_that_is_spent_ends_a_session_in_order(tmp_path: Path, history: History) -> None:
    with modest_server() as (model, server):
        record, _ = llm_session(
            tmp_path, history, tmp_path / "tape.jsonl", url=url_of(server), budget={"requests": 6}
        )
        assert model.asked == 6
    frozen = record.events[FROZEN]
    assert "6 of 6 requests are spent" in frozen["ended"]
    assert 0 < frozen["trials"] < STRATEGIES
    assert frozen["winners"]


def test_nothing_of_a_hostile_server_is_evaluated(tmp_path: Path, history: History) -> None:
    """Adversaries take turns in one session, a proposal each, and a decent answer ends it."""
    hostile = [ADVERSARIES[each].behaviour for each in HOSTILE]

    def choose(request: tuple[str, Any]) -> Behaviour:
        number = json.loads(request[1]["messages"][1]["content"])["asked_for"]["number"]
        return [*hostile, tells(GOOD)][number - 1]

    with FaultServer(choose=choose) as server:
        record, bench = llm_session(
            tmp_path, history, tmp_path / "tape.jsonl", strategies=len(hostile) + 1, url=url_of(server)
        )
    assert record.events[FROZEN]["trials"] == len(hostile) + 1
    assert len(bench.evaluated) == 1


# What the model is told


def test_the_message_holds_no_date_no_price_and_no_instrument() -> None:
    proposal = Proposal(
        spec={"long_entry": {"all": [{"id": COLUMN, "below": 0.5}, {"id": "ibs@NQ:1d", "below": 0.1}]}}
    )
    trial = Trial(
        number=1, id=1, proposal=replace(proposal, rationale="as in 2019-03"), status="evaluated",
        measures=measures_of(), findings=(f"reads {COLUMN}, and there are those of ES@1d and ES 1h",),
    )  # fmt: skip
    text = told(context_of(trial, models=(ZOO,), earlier=(trial,)))
    for name in ("COMP", "NQ", "ES", "2019", "2020", "3f2a9c1b04de"):
        assert name not in text, name
    assert "model:known_1" in text
    content = json.loads(text)
    of = {each["id"]: each["quantiles"] for each in content["catalogue"]}
    assert of["atr_14"] is None
    assert of["atr_pctile_14_252"]
    assert [*content["best_trials"][0]["sharpe_by_regime"]] == ["bull"]


def test_a_text_that_names_nothing_is_left_alone() -> None:
    for text in ("makes 40% of its result in one trade", "model:calm below -4", "rsi_2%252~1"):
        assert without_names(text) == text


def test_a_known_model_is_read_by_its_column(tmp_path: Path) -> None:
    answered = {"long_entry": {"id": "model:known_1", "below": -4}, "max_bars": 3}
    with FaultServer(tells(answered)) as server:
        asking = LlmResearcher(**options(url_of(server), cassette=str(tmp_path / "tape.jsonl")))
        found = asking.propose(context_of(models=(ZOO,), kinds={"ml": 1}, kind="ml"))
    assert found.spec["long_entry"] == {"id": COLUMN, "below": -4}


def test_a_server_that_is_gone_ends_the_session() -> None:
    gone = Proposal(spec={}, move="none", rationale="x")
    trials = [
        Trial(number=each, id=each, proposal=gone, status="refused", findings=(f"{FAILED}status 500",))
        for each in range(1, MOST_FAILURES + 1)
    ]
    asking = LlmResearcher(**options(NOBODY))
    with pytest.raises(BudgetSpent, match=r"did not answer for 5 proposals in a row, last: status 500"):
        asking.propose(context_of(*trials))


# Cassettes


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(each) for each in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "200"}, "status .*expected int"),
        ({"body": None}, "body null: expected str"),
        ({"more": 1}, "expected body, failure"),
    ],
)
def test_a_damaged_cassette_is_refused_by_its_line(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    tape = tmp_path / "tape.jsonl"
    first, second, *_ = lines_of(RECORDED)
    tape.write_text("\n".join([json.dumps(first), json.dumps({**second, **change}), ""]))
    with pytest.raises(AgentError, match=f"tape.jsonl:2: is no exchange.*{message}"):
        Cassette(tape)
    tape.write_text("\n".join([json.dumps(first), json.dumps(second), ""]))
    assert Cassette(tape).answer(second["request"]) is not None


def test_a_cassette_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tape = Cassette(tmp_path / "file" / "tape.jsonl")
    found = Cassette(RECORDED).answer(lines_of(RECORDED)[0]["request"])
    assert found is not None
    with pytest.raises(AgentError, match="cannot be written"):
        tape.keep(found)


def test_the_recorded_session_has_no_key_and_no_address() -> None:
    text = RECORDED.read_text().lower()
    assert "authorization" not in text
    assert "127.0.0.1" not in text
    assert os.sep + "tmp" not in text
