"""What a language model may have read is never called out of sample."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError
from lockstep.market.dates import DateRange
from operations.agents.tables import gate_lines
from research.agents import gate
from research.agents.fold_measures import SessionFolds
from research.agents.gate import SessionVerdict
from research.agents.knowledge import known_until, sides, split_folds, split_measures
from research.agents.proposal import Proposal, Trial
from support.agent_sessions import plan_by_hand, settings_of
from support.explorers import measures_of

SPAN = DateRange.of("2018-07-02", "2018-09-28")
DAYS = np.arange("2017-01-02", "2018-06-29", dtype="M8[D]")
FOLDS = SessionFolds.of(DAYS)


def days_of(span: DateRange) -> dict[str, float | None]:
    return {"trades": float((span.end - span.start).days + 1)}


@pytest.mark.parametrize(
    ("until", "before", "after"),
    [
        ("2018-07-01", None, 89), ("2018-07-02", 1, 88), ("2018-08-01", 31, 58), ("2018-09-27", 88, 1),
        ("2018-09-28", 89, None), ("2030-01-01", 89, None),
    ],
)  # fmt: skip
def test_a_range_is_split_on_the_day(until: str, before: int | None, after: int | None) -> None:
    """The last day that was read is before; every day is on one side."""
    found = split_measures(SPAN, date.fromisoformat(until), days_of)
    counted = [None if part is None else part.measures["trades"] for part in (found.before, found.after)]
    assert counted == [before, after]
    assert found.after is None or (found.after.out_of_sample and found.after.span.start > found.until)
    assert found.before is None or (not found.before.out_of_sample and found.before.span.end <= found.until)
    assert [part is None for part in sides(SPAN, found.until)] == [before is None, after is None]


def folds_of() -> tuple[Any, ...]:
    fold = measures_of().folds[0]
    return tuple(replace(fold, number=each, sharpe=float(each), trades=10) for each in range(6))


@pytest.mark.parametrize(("shift", "known"), [(-1, 3), (0, 4), (5, 4)])
def test_a_fold_that_the_model_may_have_read_in_part_is_known(shift: int, known: int) -> None:
    until = FOLDS.dates(3).start.toordinal() + shift
    found = split_folds(measures_of(folds=folds_of()), FOLDS, date.fromordinal(until))
    assert found.before is not None
    assert found.after is not None
    assert found.before.measures == {"trades": 10.0 * known, "sharpe": sum(range(known)) / known}
    assert found.after.measures["trades"] == 10.0 * (6 - known)
    assert found.after.span.start > found.until


def test_an_undefined_fold_counts_no_ratio() -> None:
    folds = tuple(replace(each, sharpe=float("nan")) for each in folds_of())
    found = split_folds(measures_of(folds=folds), FOLDS, date(2030, 1, 1))
    assert found.before is not None
    assert found.after is None
    assert found.before.measures["sharpe"] is None


def test_only_a_language_model_has_read_the_history() -> None:
    assert known_until(settings_of()) is None
    asked = settings_of(researcher="llm", options={"knowledge_until": "2018-08-01"})
    assert known_until(asked) == date(2018, 8, 1)
    for options in ({}, {"knowledge_until": "lately"}):
        with pytest.raises(ConfigError, match="expected a date like 2024-06-30"):
            known_until(settings_of(researcher="llm", options=options))


def test_the_gate_tells_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Trial(
        number=3, id=3, proposal=Proposal(spec={}), status="evaluated", measures=measures_of(folds=folds_of())
    )
    book: Any = SimpleNamespace(strategies=lambda session: [SimpleNamespace(trial=trial)])
    monkeypatch.setattr(gate, "training_history", lambda plan: None)
    monkeypatch.setattr(gate, "training_days", lambda plan, history: DAYS)

    def told(researcher: str, until: str) -> tuple[dict[str, Any], str]:
        plan = plan_by_hand(researcher=researcher, options={"knowledge_until": until})
        record: Any = SimpleNamespace(id=1, plan=plan)
        found = gate.knowledge_of(book, record, 3, days_of)
        verdict = SessionVerdict(
            verdict="forward", reason="r", winner=3, objective=1.0, validation={}, knowledge=found
        )
        assert SessionVerdict(**verdict.plain) == verdict
        return found, "\n".join(gate_lines(record, verdict))

    found, lines = told("llm", "2018-08-01")
    assert found["training"]["after"] is None
    assert found["validation"]["after"]["measures"] == {"trades": 58.0}
    assert found["validation"]["after"]["out_of_sample"]
    assert not found["validation"]["before"]["out_of_sample"]
    assert "training: the model may have read all of it (up to 2018-08-01); nothing of it is out" in lines
    assert "validation: out of sample only after 2018-08-01: trades 58" in lines
    assert told("screen", "2018-08-01")[0] == {}
    assert "out of sample" not in told("screen", "2018-08-01")[1]
