"""Positions and the broker's: which statements count, what is told, and what settles a difference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.live.brokers.protocol import Holding
from lockstep.live.codec import content_of
from lockstep.live.events import Event
from lockstep.live.messages import LaneState
from lockstep.live.operator.open_orders import Reports
from lockstep.live.operator.statement import COLUMNS, FillPositions, PositionsFile, StatementFile
from lockstep.live.reconciliation import EngineAccount, Reconciliation
from lockstep.market.config import load_instruments
from support.events import an_event
from support.orders import DAY, HOUR, NOON, SECOND

BOOK = load_instruments()
SESSIONS = {symbol: BOOK.session(symbol) for symbol in ("ES", "NQ")}


class Said:
    """A source that says what a test sets."""

    def __init__(self) -> None:
        self.holdings: dict[str, Holding] = {}
        self.trouble = ""

    def read(self, now: int) -> Mapping[str, Holding]:
        return self.holdings


def desk(started: int = NOON, source: Any = None) -> Reconciliation:
    return Reconciliation(SESSIONS, started=started, source=source)


def looked(found: Reconciliation, now: int, position: float = 0.0, waiting: float = 0.0) -> list[Event]:
    return list(found.look(now, lambda symbol, moment: EngineAccount(position, waiting)))


def test_nothing_is_reconciled_before_a_statement_of_this_start() -> None:
    found = desk()
    assert set(found.unreconciled) == {"ES", "NQ"}
    assert looked(found, NOON) == []
    assert "there is none yet; or confirm" in found.unreconciled["ES"]
    found.hear("ES", Holding(0.0, NOON - 1, "positions.csv"))
    assert looked(found, NOON) == []
    assert "2024-03-06T14:59:59.999999999Z, which is too old" in found.unreconciled["ES"]
    found.hear("ES", Holding(0.0, NOON, "positions.csv"))
    (event,) = looked(found, NOON + SECOND)
    assert (event.kind, event.symbol) == ("reconciled", "ES")
    assert content_of(event) == {"quantity": 0.0, "as_of": NOON, "source": "positions.csv", "position": 0.0}
    assert set(found.unreconciled) == {"NQ"}
    assert looked(found, NOON + 2 * SECOND) == []


def test_a_difference_is_told_once_with_both_numbers_and_settled_by_a_fill() -> None:
    found = desk()
    found.hear("ES", Holding(2.0, NOON, "positions.csv"))
    (event,) = looked(found, NOON, position=1.0, waiting=1.0)
    assert (event.kind, event.quantity, event.position) == ("unreconciled", 2.0, 1.0)
    for part in (
        "the engine holds +1, the broker +2 (positions.csv, 2024-03-06T15:00:00Z)",
        "an order of +1 waits for its fill",
        "lockstep orders fill",
        "lockstep orders reconcile --symbol ES --position 1",
    ):
        assert part in found.unreconciled["ES"]
    found.hear("ES", Holding(2.0, NOON + SECOND, "positions.csv"))
    assert looked(found, NOON + SECOND, position=1.0, waiting=1.0) == [], "the same numbers are no news"
    (event,) = looked(found, NOON + SECOND, position=2.0)
    assert event.kind == "reconciled"
    assert "ES" not in found.unreconciled


def test_a_difference_is_settled_by_a_newer_statement() -> None:
    found = desk()
    found.hear("ES", Holding(2.0, NOON + 5, "positions.csv"))
    assert [each.kind for each in looked(found, NOON + 5)] == ["unreconciled"]
    found.hear("ES", Holding(0.0, NOON + 4, "an older one"))
    assert looked(found, NOON + 6) == []
    found.hear("ES", Holding(0.0, NOON + 7, "the operator"))
    assert [each.kind for each in looked(found, NOON + 8)] == ["reconciled"]


def test_every_session_day_asks_again() -> None:
    """The day of ES rolls at 17:00 in New York, 22:00 UTC in March."""
    said = Said()
    found = desk(source=said)
    rolls = NOON + 7 * HOUR
    for symbol in SESSIONS:
        said.holdings[symbol] = Holding(0.0, NOON, "positions.csv")
    assert len(looked(found, NOON)) == 2
    assert looked(found, rolls) == []
    assert found.unreconciled == {}
    assert looked(found, rolls + 1) == []
    assert set(found.unreconciled) == {"ES", "NQ"}
    said.holdings["ES"] = Holding(0.0, rolls, "positions.csv")
    assert looked(found, rolls + HOUR) == []
    said.holdings["ES"] = Holding(0.0, rolls + 1, "positions.csv")
    assert [each.kind for each in looked(found, rolls + HOUR)] == ["reconciled"]
    assert set(found.unreconciled) == {"NQ"}
    assert looked(found, NOON + 3 * DAY) == []
    assert set(found.unreconciled) == {"ES", "NQ"}


def test_a_statement_of_the_future_does_not_count() -> None:
    found = desk()
    found.hear("ES", Holding(0.0, NOON + 61 * SECOND, "positions.csv"))
    assert looked(found, NOON) == []
    assert [each.kind for each in looked(found, NOON + SECOND)] == ["reconciled"]


def test_a_source_that_cannot_be_read_is_told_once() -> None:
    said = Said()
    found = desk(source=said)
    said.trouble = "positions.csv:3: quantity 'x'"
    (event,) = looked(found, NOON)
    assert (event.kind, content_of(event)) == ("unreconciled", {"detail": said.trouble})
    assert looked(found, NOON + 1) == []
    assert said.trouble in found.unreconciled["ES"]
    said.trouble = ""
    said.holdings = {symbol: Holding(0.0, NOON, "positions.csv") for symbol in (*SESSIONS, "CL")}
    assert [each.kind for each in looked(found, NOON + 2)] == ["reconciled"] * 2


@given(st.lists(st.tuples(st.integers(0, 100), st.sampled_from([-2.0, -1.0, 1.0, 3.0]))), st.integers(0, 100))
def test_the_position_of_a_moment_is_that_of_the_fills_until_then(
    fills: list[tuple[int, float]], moment: int
) -> None:
    reports = Reports()
    for number, (stamp, quantity) in enumerate(fills):
        reports.add(
            an_event(
                "fill",
                symbol="ES",
                content={"fill_id": f"{number}", "stamp": stamp, "quantity": quantity},
            )
        )
    reports.booked()
    now = sum(quantity for _, quantity in fills)
    then = sum(quantity for stamp, quantity in fills if stamp <= moment)
    state = LaneState(account=(now, 1.0, 1.0, 1.0, 1.0))
    assert reports.account("ES", state, moment) == EngineAccount(pytest.approx(then), 0.0)


# Files

HEAD = "symbol,quantity,as_of\n"
ROW = "ES,-2,2024-03-06T15:00:00Z\n"


def test_a_positions_file(tmp_path: Path) -> None:
    path = tmp_path / "positions.csv"
    file = PositionsFile(path)
    assert (file.read(NOON), file.trouble) == ({}, f"{path} is not there")
    path.write_text(HEAD + ROW + "NQ,0.5,2024-03-06T10:00:00-05:00\n")
    assert file.read(NOON) == {
        "ES": Holding(-2.0, NOON, "positions.csv"),
        "NQ": Holding(0.5, NOON, "positions.csv"),
    }
    assert file.trouble == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its last line is incomplete"),
        (HEAD + ROW.strip(), "its last line is incomplete"),
        ("symbol,quantity\nES,1\n", "positions.csv:1: columns"),
        (HEAD + "ES,two,2024-03-06T15:00:00Z\n", "positions.csv:2: quantity 'two'"),
        (HEAD + "ES,nan,2024-03-06T15:00:00Z\n", "positions.csv:2: quantity 'nan'"),
        (HEAD + "ES,,2024-03-06T15:00:00Z\n", "positions.csv:2: quantity ''"),
        (HEAD + "ES,1,2024-03-06T15:00:00\n", "has no offset"),
        (HEAD + "ES,1\n", "time ''"),
        (HEAD + ROW + ROW, "positions.csv:3: ES is listed twice"),
    ],
)
def test_a_wrong_positions_file_says_nothing_and_why(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "positions.csv"
    path.write_text(text)
    file = PositionsFile(path)
    assert file.read(NOON) == {}
    assert message in file.trouble


def test_positions_follow_from_the_statement_of_fills(tmp_path: Path) -> None:
    path = tmp_path / "fills.csv"
    statement = StatementFile(path)
    source = FillPositions(statement, SESSIONS)
    assert (source.read(NOON), source.trouble) == ({}, "the statement of fills is not there")
    rows = [
        f"a,1-live-ES-{NOON}-entry-1,ES,market,2,5000,1,2024-03-06T15:00:00Z",
        f"b,1-live-ES-{NOON}-entry-1,ES,stop,-1.5,4990,1,2024-03-06T15:00:01Z",
    ]
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    statement.done(statement.read())
    assert source.read(NOON) == {
        "ES": Holding(0.5, NOON, "statement of fills"),
        "NQ": Holding(0.0, NOON, "statement of fills"),
    }
    path.write_text(path.read_text() + "b,by hand,ES,market,9,1,0,2024-03-06T15:00:02Z\n")
    statement.read()
    assert source.read(NOON)["ES"].quantity == 11.0, "the newest row of an id counts"
