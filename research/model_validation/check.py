"""What a check on a version is: a name, the question it asks, of whom, and a judge of the answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from lockstep.errors import LockstepError
from research.model_validation.case import ModelCase, StrategyCase, ValidationCase
from research.statistics.gate import Check

Judged = TypeVar("Judged", ModelCase, StrategyCase)

GROUPS: Mapping[str, str] = {
    "inputs": "what it reads",
    "gain": "what the veto adds",
    "result": "what the strategy earns",
    "luck": "how much of it is luck",
    "answers": "what the model answers",
    "sanity": "sanity: what no working model looks like",
    "hold-out": "what nobody had seen",
}
"""What the checks are about, in the order of a report: name -> title."""

_UNASKED = {
    "strategy": "not applicable: checks a model, and this strategy has none",
    "model": "not applicable: checks a strategy without a model",
}


@dataclass(frozen=True, kw_only=True)
class CheckFinding:
    """What a judge found: the value measured, its limit, whether that passes, and a sentence on both."""

    value: float
    limit: float
    passed: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class ModelCheck:
    """One check.

    asks    a question that stands in the checklist; limit   names the acceptance key
    of      the kind of case that it can be asked of; None: of any
    group   one of `GROUPS`, under which the checklist and the report show it
    """

    name: str
    asks: str
    limit: str
    judge: Callable[[Any], CheckFinding]
    of: type[ModelCase] | type[StrategyCase] | None = None
    group: str = "result"

    def __call__(self, case: ValidationCase) -> Check:
        """Judge a version; what cannot be measured (nan, or a refusal on the way) has not passed."""
        if self.of is not None and not isinstance(case, self.of):
            return self._not_applicable(case)
        try:
            found = self.judge(case)
        except LockstepError as error:
            found = CheckFinding(
                value=math.nan, limit=math.nan, passed=False, sentence=f"not measured: {error}"
            )
        return Check(
            name=self.name,
            value=found.value,
            limit=found.limit,
            passed=found.passed and not math.isnan(found.value),
            sentence=found.sentence,
        )

    def _not_applicable(self, case: ValidationCase) -> Check:
        return Check(
            name=self.name,
            value=math.nan,
            limit=math.nan,
            passed=False,
            sentence=_UNASKED[case.kind],
            applies=False,
        )


def model_check(
    name: str, *, asks: str, limit: str = "", group: str = "result"
) -> Callable[[Callable[[ValidationCase], CheckFinding]], ModelCheck]:
    """Make a check of a judge of any version."""

    def declare(judge: Callable[[ValidationCase], CheckFinding]) -> ModelCheck:
        return ModelCheck(name=name, asks=asks, limit=limit, judge=judge, group=group)

    return declare


def check_of(
    of: type[Judged], name: str, *, asks: str, limit: str = "", group: str = "result"
) -> Callable[[Callable[[Judged], CheckFinding]], ModelCheck]:
    """Make a check of a judge that only one kind of version can be asked."""

    def declare(judge: Callable[[Judged], CheckFinding]) -> ModelCheck:
        return ModelCheck(name=name, asks=asks, limit=limit, judge=judge, of=of, group=group)

    return declare


def at_least(value: float, limit: float, sentence: str) -> CheckFinding:
    """Return a finding that passes where the value reaches the limit."""
    return CheckFinding(value=value, limit=limit, passed=value >= limit, sentence=sentence)


def at_most(value: float, limit: float, sentence: str) -> CheckFinding:
    """Return a finding that passes where the value stays within the limit."""
    return CheckFinding(value=value, limit=limit, passed=value <= limit, sentence=sentence)
