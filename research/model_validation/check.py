"""What a check on a model is: a name, the question it asks, and a judge of the answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from lockstep.errors import LockstepError
from research.model_validation.case import Case
from research.statistics.gate import Check


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a judge found: the value measured, its limit, whether that passes, and a sentence on both."""

    value: float
    limit: float
    passed: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class ModelCheck:
    """One check. `asks` is a question that stands in the checklist; `limit` names the acceptance key."""

    name: str
    asks: str
    limit: str
    judge: Callable[[Case], Finding]

    def __call__(self, case: Case) -> Check:
        """Judge a model; what cannot be measured (nan, or a refusal on the way) has not passed."""
        try:
            found = self.judge(case)
        except LockstepError as error:
            found = Finding(value=math.nan, limit=math.nan, passed=False, sentence=f"not measured: {error}")
        return Check(
            name=self.name,
            value=found.value,
            limit=found.limit,
            passed=found.passed and not math.isnan(found.value),
            sentence=found.sentence,
        )


def model_check(
    name: str, *, asks: str, limit: str = ""
) -> Callable[[Callable[[Case], Finding]], ModelCheck]:
    """Make a check of a judge."""

    def declare(judge: Callable[[Case], Finding]) -> ModelCheck:
        return ModelCheck(name=name, asks=asks, limit=limit, judge=judge)

    return declare


def at_least(value: float, limit: float, sentence: str) -> Finding:
    """Return a finding that passes where the value reaches the limit."""
    return Finding(value=value, limit=limit, passed=value >= limit, sentence=sentence)


def at_most(value: float, limit: float, sentence: str) -> Finding:
    """Return a finding that passes where the value stays within the limit."""
    return Finding(value=value, limit=limit, passed=value <= limit, sentence=sentence)
