"""After a session: its gate, by replays where it can be replayed, and the registration of its winner."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from lockstep.errors import AgentError
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_history
from lockstep.strategy.families.rules import RulesConfig
from operations.agents.registration import register_winner
from operations.agents.tables import gate_lines, state
from research.agents import gate, process
from research.agents.database import FROZEN, GATE, REGISTERED, AgentBook, SessionRecord
from research.agents.gate import judge
from research.agents.plan import AgentSettings, plan_of
from research.ledger.append_only import LinkRow, ReplayRow
from research.ledger.candidates import candidates
from research.ledger.doors import open_door
from research.sweep.run import sweep
from support.agent_sessions import NOON, book_in

SETTINGS = AgentSettings(
    symbol="COMP", researcher="support.explorers:Dice", strategies=8, kinds={"technical": 0}, least_trades=5,
    start=date(2004, 1, 2), end=date(2014, 12, 31),
)  # fmt: skip
Made = tuple[AgentBook, SessionRecord]


def made(folder: Path, settings: AgentSettings = SETTINGS) -> Made:
    """Make a session in this process."""
    book, plan = book_in(folder), plan_of(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "UNTIL", plan.train.end)
        return book, process.explored(book, plan)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Made:
    book, record = made(tmp_path_factory.mktemp("gate"))
    judge(book, record.id, replays=19)
    return book, book.session(record.id)


def replays(book: AgentBook) -> int:
    with book.ledger.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(ReplayRow)) or 0


def test_a_technical_session_is_replayed_and_ranked(judged: Made) -> None:
    book, record = judged
    event = record.events[GATE]
    assert event["replays"] == 19
    assert event["objective"] == record.events[FROZEN]["objective"] == book.get_top(1)[0].trial.fitness
    assert event["p_value"] in [number / 20 for number in range(1, 21)]
    assert event["verdict"] == ("passed" if event["p_value"] <= 0.05 else "refused")
    assert event["best"] >= event["median"]
    assert event["best"] != event["objective"]
    assert replays(book) == 1
    again = judge(book, record.id, replays=99)
    assert again.plain == event
    assert replays(book) == 1
    lines = gate_lines(record, again)
    assert "replays on redrawn bars found as much: p = " in lines[1]
    assert any(line.startswith(f"  validation, {record.plan.validation}: trades ") for line in lines)


def test_the_hold_out_is_sealed_before_anything_is_tried_and_a_later_look_is_counted(judged: Made) -> None:
    book, record = judged
    sealed, family = record.plan.hold_out, record.plan.family
    assert sealed == DateRange.of(record.plan.validation.end + timedelta(days=1), SETTINGS.end)
    (law,) = book.ledger.law(family, sealed)
    assert (law.holdout, law.dates) == (sealed, DateRange.of("2004-01-02", str(record.plan.validation.end)))
    tables = [each.table_name for each in links(book)]
    assert tables.index("law") < tables.index("agent_proposal")
    assert book.ledger.looks(family, sealed) == [], "its gate opened validation, and nothing more"
    history, key = load_history("COMP", end=SETTINGS.end), SeriesKey("COMP", record.plan.timeframe)
    purpose = {"purpose": "backtest of mine", "now": NOON}
    assert open_door(book.ledger, history, key, record.plan.validation, **purpose) == ()
    (said,) = open_door(book.ledger, history, key, DateRange.of(start=sealed.end), **purpose)
    assert "days that a search sealed as its hold-out: 2014-12-31 to 2014-12-31 (look 1 of NASDAQ" in said
    assert [each.purpose for each in book.ledger.looks(family, sealed)] == ["backtest of mine"]


def links(book: AgentBook) -> list[Any]:
    with book.ledger.database.read() as connection:
        return list(connection.execute(select(LinkRow.__table__).order_by(LinkRow.id)))


def test_a_gate_on_sealed_dates_looks_once_however_often_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, record = made(tmp_path)
    validation, told = record.plan.validation, list[str]()
    book.ledger.enact(record.plan.family, record.plan.train, limits={}, holdout=validation, now=NOON)
    monkeypatch.setattr(gate, "replay", lambda book, record, **_: fake(record))
    with monkeypatch.context() as patch:
        patch.setattr(AgentBook, "happened", interrupted)
        with pytest.raises(KeyboardInterrupt):
            judge(book, record.id, tell=told.append)
    judge(book, record.id, tell=told.append)
    (look,) = book.ledger.looks(record.plan.family, validation)
    assert look.purpose == "gate of session 1 of agents"
    assert len(told) == 1


def interrupted(*arguments: object, **named: object) -> None:
    raise KeyboardInterrupt


def test_validation_is_what_a_backtest_there_says(judged: Made) -> None:
    _, record = judged
    history = load_history("COMP", start=SETTINGS.start)
    winner = RulesConfig.model_validate(record.events[FROZEN]["winners"][0]["config"])
    metrics = sweep([winner], history, "COMP", span=record.plan.validation, jobs=1).metrics
    assert record.events[GATE]["validation"]["net_profit"] == metrics["net_profit"][0]
    assert record.plan.train.end < record.plan.validation.start
    assert record.plan.validation.end < date(2014, 12, 31)


def test_a_winner_that_passed_is_registered_once_and_its_history_is_worth_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, record = made(tmp_path)
    with pytest.raises(AgentError, match="session 1: was not judged yet; `lockstep agents gate 1` does it"):
        register_winner(book, 1)
    monkeypatch.setattr(gate, "LEVEL", 1.0)
    monkeypatch.setattr(gate, "replay", lambda book, record, **_: fake(record))
    assert judge(book, 1).verdict == "passed"
    found = register_winner(book, 1)
    assert (found.searched, found.trials, found.p_value, found.e_history) == ("adaptive", None, None, 1.0)
    assert found.name == f"agents_COMP_1_{record.events[FROZEN]['winners'][0]['number']}"
    known = book.session(1)
    assert known.events[REGISTERED]["candidate"] == found.name
    assert state(known) == f"registered as {found.name}"
    with pytest.raises(AgentError, match=f"its winner is registered as {found.name}"):
        register_winner(book, 1)
    assert len(candidates(book.ledger)) == 1


def fake(record: SessionRecord) -> gate.NullReplay:
    """Return a replay in which nothing was found."""
    found = record.events[FROZEN]["objective"]
    return gate.NullReplay(objective=found, draws=tuple(range(1, 20)), objectives=(found - 1.0,) * 19)


def test_what_its_gate_refused_is_not_registered(
    judged: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, record = judged
    refused = replace(
        record, events={**record.events, GATE: {**record.events[GATE], "verdict": "refused"}}
    )  # fmt: skip
    monkeypatch.setattr(AgentBook, "session", lambda self, number: refused)
    with pytest.raises(AgentError, match=r"its gate refused it, .* a registration would spend a share"):
        register_winner(book, 1)


def test_a_session_with_models_needs_forward_evidence(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"kinds": {"technical": 0, "ml": 1}, "strategies": 6})
    book, record = made(tmp_path, settings)
    found = judge(book, record.id)
    assert (found.verdict, found.p_value, found.replays) == ("forward", None, 0)
    assert (
        found.reason
        == "forward evidence only: it trains models, and a hundred sessions that train theirs are too many"
    )
    assert found.validation["trades"] is not None
    assert replays(book) == 0
    assert register_winner(book, record.id).e_history == 1.0


def test_a_session_after_another_is_not_replayed(judged: Made) -> None:
    book, _ = judged
    plan = plan_of(SETTINGS.model_copy(update={"seed": 1}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "UNTIL", plan.train.end)
        record = process.explored(book, plan)
    found = judge(book, record.id)
    assert found.verdict == "forward"
    assert found.reason.endswith("so that it was chosen among several")


def test_a_session_that_comes_out_differently_is_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, record = made(tmp_path)
    other = replace(fake(record), objective=record.events[FROZEN]["objective"] + 1e-6)
    monkeypatch.setattr(gate, "replay", lambda book, record, **_: other)
    with pytest.raises(AgentError, match="it is not the same session; its researcher does not depend"):
        judge(book, record.id)
    assert GATE not in book.session(record.id).events


def test_an_incomplete_session_is_not_judged(tmp_path: Path) -> None:
    book = book_in(tmp_path)
    book.begin(plan_of(SETTINGS))
    with pytest.raises(AgentError, match="session 1: is not complete, so that nothing is frozen; `lockstep"):
        judge(book, 1)


def test_symbols_dates_and_researchers_that_are_none_are_one_line(tmp_path: Path) -> None:
    from lockstep.errors import LockstepError

    cases = {
        "nobody": "researcher 'nobody': there is none of this name; known are",
        "no.such:Thing": "researcher 'no.such:Thing': ",
    }
    for researcher, said in cases.items():
        with pytest.raises(LockstepError) as found:
            plan_of(SETTINGS.model_copy(update={"researcher": researcher}))
        assert str(found.value).startswith(said)
    with pytest.raises(LockstepError, match="ES"):
        plan_of(SETTINGS.model_copy(update={"symbol": "ES"}))
    with pytest.raises(AgentError, match="335 sessions to train on, two thirds of all; at least 600"):
        plan_of(SETTINGS.model_copy(update={"start": date(2013, 1, 2)}))
