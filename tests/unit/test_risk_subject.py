"""`research.risk`: sessions that instruments share, refusals, and plugs of the page."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from lockstep.errors import DataError
from lockstep.portfolio.session_changes import SessionCloses, common_changes, require_history
from research.risk.section import RISK_PARTS, RiskPart, measured_parts
from research.risk.subject import RiskSubject


def closes(days: list[str], values: list[float], multiplier: float = 1.0) -> SessionCloses:
    return SessionCloses(
        dates=np.array(days, dtype="datetime64[D]"), closes=np.array(values), multiplier=multiplier
    )


def subject(**more: Any) -> RiskSubject:
    values: dict[str, Any] = {
        "kind": "desk", "name": "desk", "as_of": date(2024, 1, 4), "stamp": 0, "capital": 1e6,
        "positions": {"ES": 1.0, "ZC": 0.0}, "reserved": {"ZC": -2.0},
        "dates": np.array(["2024-01-03", "2024-01-04"], dtype="datetime64[D]"),
        "changes": np.array([[50.0, 10.0], [-100.0, 5.0]]), "closes": {},
    }  # fmt: skip
    return RiskSubject(**(values | more))


def test_reserved_entries_are_exposed() -> None:
    assert subject().exposed.tolist() == [1.0, -2.0]
    assert subject().pnl.tolist() == [[50.0, -20.0], [-100.0, -10.0]]


def test_a_holiday_of_one_market_goes_into_the_next_change_of_the_other() -> None:
    dates, changes = common_changes(
        {
            "ES": closes(["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"], [10, 12, 9, 9.5], 50.0),
            "ZC": closes(["2024-01-02", "2024-01-04", "2024-01-05"], [4.0, 5.0, 5.0], 50.0),
        }
    )
    assert dates.astype(str).tolist() == ["2024-01-04", "2024-01-05"]
    assert changes.tolist() == [[-50.0, 50.0], [25.0, 0.0]]


def test_markets_without_a_common_session_are_refused() -> None:
    one, other = closes(["2024-01-02", "2024-01-03"], [1, 2]), closes(["2023-01-02", "2023-01-03"], [1, 2])
    with pytest.raises(DataError, match=r"0 sessions that all instruments have \(ES 2024-01-02 to"):
        common_changes({"ES": one, "ZC": other})


def test_a_position_without_history_is_refused() -> None:
    known = {"ES": closes(["2024-01-02"], [1])}
    require_history({"ES": 1.0, "ZC": 0.0}, known)
    with pytest.raises(DataError, match="ZC: a position of -2 without a history"):
        require_history({"ES": 1.0, "ZC": -2.0}, known)


class Silent:
    name = "silent"

    def measure(self, subject: RiskSubject) -> RiskPart | None:
        return None


class Refusing:
    name = "gap_losses"

    def measure(self, subject: RiskSubject) -> RiskPart | None:
        raise DataError(f"{subject.name} <b>: no bars")


def test_a_part_that_refuses_is_a_sentence_and_one_that_is_silent_is_none() -> None:
    with RISK_PARTS.joined(Silent()), RISK_PARTS.joined(Refusing()):
        found = measured_parts(subject())
    assert "silent" not in found
    assert found["gap_losses"].content == {"refused": "desk <b>: no bars"}
    assert found["gap_losses"].lines == ("Gap losses: desk <b>: no bars",)
    assert "desk &lt;b&gt;: no bars" in "".join(found["gap_losses"].cards)


class Broken:
    name = "broken"

    def measure(self, subject: RiskSubject) -> RiskPart | None:
        raise ZeroDivisionError


def test_a_mistake_in_a_part_is_not_hidden() -> None:
    with RISK_PARTS.joined(Broken()), pytest.raises(ZeroDivisionError):
        measured_parts(subject())
