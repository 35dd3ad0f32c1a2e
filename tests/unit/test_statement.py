"""A broker's statement: complete lines, known fills skipped, wrong lines named."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lockstep.errors import LockstepError
from lockstep.live.operator.statement import COLUMNS, StatementFile, reported_ids, utc_nanoseconds

HEAD = ",".join(COLUMNS) + "\n"
ROW = "7,1-live-ES-1-entry-1,ES,market,1,5000.25,1.25,2026-03-06T09:10:03-05:00\n"


def test_only_complete_lines_count_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "fills.csv"
    statement = StatementFile(path)
    assert statement.read() == []
    path.write_text(HEAD + ROW + ROW.replace("7,", "8,", 1)[:-10])
    (event,) = statement.read()
    assert event.fill_id == "7"
    assert event.stamp == int(datetime(2026, 3, 6, 14, 10, 3, tzinfo=UTC).timestamp()) * 10**9
    statement.done([event])
    path.write_text(HEAD + ROW + ROW.replace("7,", "8,", 1))
    (second,) = statement.read()
    assert reported_ids([event, second]) == {"7", "8"}
    assert statement.read() == [], "nothing has changed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", ":1: columns"),
        (HEAD + ROW.replace("-05:00", ""), ":2: time 2026-03-06T09:10:03: has no offset"),
        (HEAD + ROW + ROW.replace("market", "limit"), ":3: order"),
        (HEAD + "7,x\n", ":2:"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "fills.csv"
    path.write_text(text)
    with pytest.raises(LockstepError, match=message):
        StatementFile(path).read()


def test_microseconds_are_exact() -> None:
    assert utc_nanoseconds("2026-03-06T14:10:03.123457Z", "x") % 10**9 == 123_457_000
