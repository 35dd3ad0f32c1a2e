"""Servers that answer as badly as they can: each its own refusal, soon, and nothing of it is evaluated."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import AgentError, BudgetSpent, ConfigError, NoProposal
from lockstep.http_post import PostAttempt
from research.agents import llm_wire
from research.agents.llm import LlmResearcher
from research.agents.llm_wire import MOST_REQUESTS, OFFLINE
from research.agents.proposal import Proposal
from support.http_faults import FaultServer, answer
from support.llm_server import (
    ADVERSARIES,
    GOOD,
    INJECTION,
    catalogue,
    context_of,
    options,
    said,
    tells,
    url_of,
)

SECONDS = 5.0
KEY = "sk-live-7fQ2xV9bKt41LmZp"


def researcher(server: FaultServer, folder: Path, **changes: Any) -> LlmResearcher:
    usual = {"cassette": str(folder / "tape.jsonl"), "seconds": 2.0}
    return LlmResearcher(**options(url_of(server), **{**usual, **changes}))


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is imported and built at the first question is not what the tests time."""
    with FaultServer(tells(GOOD)) as server:
        researcher(server, tmp_path_factory.mktemp("warm")).propose(context_of())


@pytest.mark.parametrize("name", ADVERSARIES)
def test_each_adversary_is_refused_by_name(name: str, tmp_path: Path) -> None:
    adversary = ADVERSARIES[name]
    seconds = 0.3 if name in ("time-out", "endless header") else 2.0
    with FaultServer(adversary.behaviour) as server:
        began = time.monotonic()
        with pytest.raises(AgentError) as refused:
            researcher(server, tmp_path, seconds=seconds).propose(context_of())
        took = time.monotonic() - began
        assert len(server.requests) <= MOST_REQUESTS
    assert type(refused.value) is adversary.error
    assert adversary.refusal in str(refused.value)
    assert str(refused.value).startswith("language model: ")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500
    assert took < SECONDS


def test_a_decent_answer_is_accepted(tmp_path: Path) -> None:
    with FaultServer(tells(GOOD)) as server:
        found = researcher(server, tmp_path).propose(context_of())
        assert len(server.requests) == 1
    assert found == Proposal(spec=GOOD, kind="technical", move="llm")


@pytest.mark.parametrize("output", ["native", "prompted"])
def test_json_may_be_asked_for_as_text(output: str, tmp_path: Path) -> None:
    with FaultServer(tells({}, tool_calls=None, content=json.dumps(GOOD))) as server:
        found = researcher(server, tmp_path, output=output).propose(context_of())
    assert found.spec == GOOD


def test_what_was_wrong_is_told_and_may_be_corrected(tmp_path: Path) -> None:
    wrong = {"long_entry": {"id": "rsi_two", "below": 10}, "max_bars": 3}
    with FaultServer(tells(wrong), tells({**GOOD, "costs": 0}), tells(GOOD)) as server:
        found = researcher(server, tmp_path).propose(context_of())
        first, second = (str(each["messages"][3:]) for _, each in server.requests[1:])
    assert found.spec == GOOD
    assert "rsi_two" in first
    assert "costs" in second


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(status: int, tmp_path: Path) -> None:
    with FaultServer(answer(status, {}, {"Retry-After": "0"}), tells(GOOD)) as server:
        assert researcher(server, tmp_path).propose(context_of()).spec == GOOD
        assert len(server.requests) == 2


def test_a_server_that_is_not_there_is_an_error_and_no_proposal(tmp_path: Path) -> None:
    with FaultServer(tells(GOOD), listening=False) as server:
        asking = researcher(server, tmp_path)
        with pytest.raises(AgentError, match=r"no connection.*resume") as refused:
            asking.propose(context_of())
    assert not isinstance(refused.value, NoProposal)
    assert not (tmp_path / "tape.jsonl").exists()


def test_an_injection_in_a_document_is_quoted(tmp_path: Path) -> None:
    """The document reaches the model as a string of the JSON message, wherever it tries to end it."""
    context = context_of(catalogue=catalogue(INJECTION), goal=INJECTION)
    with FaultServer(tells({**GOOD, "promote": 1})) as server:
        with pytest.raises(NoProposal, match="unknown key 'promote'"):
            researcher(server, tmp_path).propose(context)
        (asked, *_) = (each for _, each in server.requests)
    roles = [each["role"] for each in asked["messages"]]
    assert roles == ["system", "user"]
    assert INJECTION[:30] not in asked["messages"][0]["content"]
    told = json.loads(asked["messages"][1]["content"])
    assert {each["document"] for each in told["catalogue"]} == {INJECTION}
    assert told["goal"] == INJECTION


# The key


def test_the_key_goes_to_the_server_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[str] = []

    def spied(to: Any, body: bytes, headers: Any, **more: Any) -> PostAttempt:
        sent.append(headers["Authorization"])
        assert KEY not in body.decode()
        return post(to, body, headers, **more)

    post = llm_wire.post
    monkeypatch.setattr(llm_wire, "post", spied)
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(0)
    with FaultServer(tells(GOOD)) as server:
        asking = researcher(server, tmp_path, key_variable="MY_KEY")
        found = asking.propose(context_of())
    assert sent == [f"Bearer {KEY}"]
    seen = [repr(asking), repr(vars(asking)), repr(found), caplog.text, (tmp_path / "tape.jsonl").read_text()]
    assert not any(KEY in each for each in seen)


@pytest.mark.parametrize("shown", [KEY, KEY[:14], KEY.encode().hex(), "sk-live-7fQ2xV9b Kt41LmZp"])
def test_an_answer_that_gives_the_key_away_is_not_kept(
    shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with FaultServer(tells({**GOOD, "rationale": f"thanks for {shown}"})) as server:
        with pytest.raises(NoProposal, match="gives away the key") as refused:
            researcher(server, tmp_path, key_variable="MY_KEY").propose(context_of())
    for text in (str(refused.value), (tmp_path / "tape.jsonl").read_text()):
        assert shown not in text


def test_a_refusal_of_the_key_does_not_quote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with FaultServer(answer(401, {"error": f"Incorrect API key provided: {KEY}"})) as server:
        with pytest.raises(AgentError, match=r"Incorrect API key provided: \[secret\]"):
            researcher(server, tmp_path, key_variable="MY_KEY").propose(context_of())


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "key"
    place.write_text(KEY)
    place.chmod(0o644)
    with FaultServer(tells(GOOD)) as server:
        with pytest.raises(ConfigError, match="other users can read"):
            researcher(server, tmp_path, key_file=str(place)).propose(context_of())
        place.chmod(0o600)
        assert researcher(server, tmp_path, key_file=str(place)).propose(context_of()).spec == GOOD


# Budget


@pytest.mark.parametrize(
    ("budget", "made"),
    [({"requests": 2}, 2), ({"tokens": 12_000}, 2), ({"money": 0.02}, 3)],
)
def test_what_is_spent_ends_the_session(budget: dict[str, float], made: int, tmp_path: Path) -> None:
    """Each request takes 1,100 tokens; the next one is made where its estimate is left, too."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 4000, "total_tokens": 5000}
    price = {"input": 1.0, "output": 1.0}
    with FaultServer(answer(200, said(GOOD, usage=usage))) as server:
        asking = researcher(server, tmp_path, budget=budget, price=price)
        for number in range(1, made + 1):
            asking.propose(context_of(number=number, left=20 - number))
        with pytest.raises(BudgetSpent, match=f"{next(iter(budget))} are spent.*ends with what it has"):
            asking.propose(context_of(number=made + 1, left=19 - made))
        assert len(server.requests) == made


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": -5, "completion_tokens": 1}, {"prompt_tokens": "1"}])
def test_tokens_that_a_server_does_not_count_are_estimated(usage: Any, tmp_path: Path) -> None:
    with FaultServer(answer(200, said(GOOD, usage=usage))) as server:
        assert researcher(server, tmp_path).propose(context_of()).spec == GOOD
        (first, *_) = (json.loads(each) for each in (tmp_path / "tape.jsonl").read_text().splitlines())
        assert first["tokens_in"] >= len(json.dumps(server.requests[0][1])) // 4
        assert first["tokens_out"] > 0


# Options


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "http://example.com/v1"}, "must begin with https://"),
        ({"url": "https://me:pw@example.com/v1"}, "user name"),
        ({"url": "https://example.com/v1?key=x"}, "has a query"),
        ({"url": "ftp://example.com/v1"}, "must begin with https://"),
        ({"modell": "x"}, "unknown key 'modell'; did you mean 'model'"),
        ({"knowledge_until": "lately"}, "knowledge_until"),
        ({"budget": {"money": 1}}, "give price"),
        ({"budget": {"requests": 0}}, "budget.requests"),
        ({"key_variable": "A", "key_file": "b"}, "give one"),
        ({"seconds": 0}, "seconds"),
        ({"output": "xml"}, "output"),
    ],
)
def test_wrong_options_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LlmResearcher(**{**options("https://example.com/v1"), **changes})


@pytest.mark.parametrize("missing", ["url", "model", "knowledge_until"])
def test_what_must_be_said_is_asked_for(missing: str) -> None:
    given = options("https://example.com/v1")
    del given[missing]
    with pytest.raises(ConfigError, match=f"key '{missing}' is missing"):
        LlmResearcher(**given)


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("research.agents.llm.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pydantic_ai is not installed; .*lockstep\[agents\]"):
        LlmResearcher(**options("https://example.com/v1"))


def test_nothing_is_asked_where_the_environment_forbids_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, OFFLINE, "1")
    with FaultServer(tells(GOOD)) as server:
        with pytest.raises(AgentError, match="the cassette has no answer for this request"):
            researcher(server, tmp_path).propose(context_of())
        assert not server.requests
