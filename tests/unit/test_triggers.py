"""What calls for a retraining, what does not, and that one occurrence is one trigger."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from lockstep.errors import ConfigError, DataError
from lockstep.monitoring.triggers import AccuracyFall, AlarmFact, accuracy_fall, triggers

BUNDLE, OTHER = "ab" * 32, "cd" * 32
ALARM = AlarmFact(level="ALARM", stream="win_rate", bundle=BUNDLE, raised=1_700_000_000_000_000_000)
WATCH = AlarmFact(level="WATCH", stream="pnl", bundle=BUNDLE, raised=1_700_000_000_000_000_000)
FALL = AccuracyFall(share=0.5, reference=0.62, false_a_year=0.53)


def kinds(**given: Any) -> list[str]:
    values: dict[str, Any] = {
        "today": date(2024, 6, 3), "trained_to": date(2024, 3, 28), "bundle": BUNDLE, **given
    }  # fmt: skip
    return [each.kind for each in triggers("ES", **values)]


def test_a_quiet_desk_is_left_alone() -> None:
    assert kinds() == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"alarms": [ALARM]}, ["alarm"]),
        ({"alarms": [WATCH]}, []),
        ({"alarms": [AlarmFact(level="ALARM", stream="pnl", bundle=OTHER, raised=1)]}, []),
        ({"worst_drift": "2024-05-01"}, []),
        ({"worst_drift": "2024-05-01", "alarms": [WATCH]}, ["drift"]),
        ({"worst_drift": "2024-05-01", "accuracy": FALL}, ["drift"]),
        ({"accuracy": FALL}, []),
        ({"regime": "2024-05-01"}, ["regime"]),
        ({"today": date(2024, 9, 27)}, []),
        ({"today": date(2024, 9, 28)}, ["calendar"]),
        ({"alarms": [ALARM], "last_run": date(2024, 5, 5)}, []),
        ({"alarms": [ALARM], "last_run": date(2024, 5, 4)}, ["alarm"]),
    ],
)
def test_what_calls_for_one(given: dict[str, Any], expected: list[str]) -> None:
    assert kinds(**given) == expected


def test_one_occurrence_is_one_trigger_whenever_it_is_seen() -> None:
    def seen(day: int) -> set[str]:
        found = triggers(
            "ES", today=date(2024, 10, day), trained_to=date(2024, 3, 28), bundle=BUNDLE,
            alarms=[ALARM, WATCH], worst_drift="2024-05-01", regime="2024-05-02",
        )  # fmt: skip
        return {each.evidence for each in found}

    assert len(seen(1)) == 4
    assert seen(1) == seen(20)


def test_accuracy_by_the_usual_rule_says_how_often_it_is_false() -> None:
    found = accuracy_fall([True] * 27 + [False] * 23, reference=0.62, per_year=60)
    assert found is not None
    assert (found.share, found.false_a_year) == (0.54, 0.27)
    assert "27% of all years, so that alone it starts nothing" in found.sentence
    assert accuracy_fall([True] * 28 + [False] * 22, reference=0.62, per_year=60) is None
    assert accuracy_fall([False] * 49, reference=0.62, per_year=60) is None


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="check the clock"):
        kinds(today=date(2024, 3, 27))
    with pytest.raises(ConfigError, match="reference 0"):
        accuracy_fall([], reference=0.0, per_year=60)
