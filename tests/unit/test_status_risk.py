"""The risk of a desk in its status: shown with its date, and doubted when it no longer holds."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from lockstep.live.status.risk import RiskSummary, read_risk
from lockstep.live.status.status import Status, read_status, status_table, to_json, write_status

STAMP = int(np.datetime64("2024-03-05T21:00", "ns").astype(np.int64))
DAY = 86_400 * 10**9
RISK = RiskSummary(
    as_of="2024-03-05",
    stamp=STAMP,
    levels={"95": (1_000.0, 1_500.0), "99": (2_000.0, 2_600.0)},
    positions={"ES": 2.0},
    exposed={"ES": 2.0, "ZC": -1.0},
)
CONTENT: dict[str, Any] = {
    "schema": 1, "kind": "desk", "as_of": "2024-03-05", "stamp": STAMP, "method": "filtered",
    "levels": {"filtered": {"95": {"var": 1_000.0, "es": 1_500.0}, "99": {"var": 2_000.0, "es": 2_600.0}}},
    "positions": {"ES": 2.0}, "reserved": {"ZC": -1.0},
}  # fmt: skip
STATUS = Status(
    mode="paper", state="running", epoch=1, started=STAMP, heartbeat=STAMP, positions={"ES": 2.0},
    last_bars={"ES 1d": STAMP},
)  # fmt: skip


def shown(status: Status) -> str:
    screen = io.StringIO()
    Console(width=200, file=screen).print(status_table(status, STAMP, stale_seconds=60.0))
    return " ".join(screen.getvalue().split())


def test_it_is_read_beside_the_status_and_shown_with_its_date(tmp_path: Path) -> None:
    write_status(tmp_path / "status.json", STATUS)
    assert read_status(tmp_path / "status.json") == STATUS
    assert "VaR" not in shown(STATUS)
    (tmp_path / "risk.json").write_text(json.dumps(CONTENT))
    found = read_status(tmp_path / "status.json")
    assert found.risk == RISK
    assert "VaR 95% 1,000, ES 1,500 USD; VaR 99% 2,000, ES 2,600 USD, after 2024-03-05" in shown(found)
    assert "out of date" not in shown(found)
    assert json.loads(to_json(found))["risk"]["doubts"] == []
    assert "risk" not in json.loads(to_json(STATUS))


def test_an_entry_that_has_filled_was_measured_and_another_position_was_not() -> None:
    filled = replace(STATUS, risk=RISK, positions={"ES": 2.0, "ZC": -1.0})
    assert "out of date" not in shown(filled)
    other = replace(STATUS, risk=RISK, positions={"ES": 0.0})
    assert "out of date: ES +0 since, +2 measured" in shown(other)
    new = replace(STATUS, risk=RISK, positions={"ES": 2.0, "GC": 1.0})
    assert "GC +1 since, +0 measured" in shown(new)


def test_bars_of_another_day_make_it_old() -> None:
    later = replace(STATUS, risk=RISK, last_bars={"ES 1h": STAMP + 3_600 * 10**9})
    assert "out of date" not in shown(later)
    tomorrow = replace(STATUS, risk=RISK, last_bars={"ES 1d": STAMP + DAY})
    assert "out of date: bars of 2024-03-06 since" in shown(tomorrow)
    assert json.loads(to_json(tomorrow))["risk"]["doubts"] == ["bars of 2024-03-06 since"]


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", json.dumps({**CONTENT, "schema": 2}), json.dumps({**CONTENT, "kind": "portfolio"}),
        json.dumps({**CONTENT, "levels": {}}), json.dumps({**CONTENT, "positions": [1]}),
    ],
)  # fmt: skip
def test_what_cannot_be_read_does_not_hide_the_status(tmp_path: Path, text: str) -> None:
    write_status(tmp_path / "status.json", STATUS)
    (tmp_path / "risk.json").write_text(text)
    assert read_risk(tmp_path / "risk.json") is None
    assert read_status(tmp_path / "status.json") == STATUS
