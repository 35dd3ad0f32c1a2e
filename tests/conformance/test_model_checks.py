"""Every check before a promotion: a question, a limit that can be set, no pass for what was not measured.

Versions that were built to fail exactly one check, and the reasons that are given, are the business of
tests/contract/test_validation_controls.py, which refuses a check without such a control.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ModelError
from lockstep.metrics import Floats
from research.model_validation.case import ValidationCase
from research.model_validation.check import CheckFinding, ModelCheck
from research.model_validation.checklist import checklist
from research.model_validation.checks import CHECKS
from research.training.acceptance import Acceptance, StrategyAcceptance
from support.toys.check import no_lucky_day

ANY: Any = object()
REGISTERED = (*CHECKS.values(), no_lucky_day)

every_check = pytest.mark.parametrize("check", REGISTERED, ids=lambda check: check.name)


@pytest.fixture(autouse=True)
def _joined() -> Iterator[None]:
    with CHECKS.joined(no_lucky_day):
        yield


@every_check
def test_it_asks_a_question_that_is_on_the_checklist(check: ModelCheck) -> None:
    assert check.asks.endswith("?")
    assert check.asks in checklist()
    assert check.judge.__doc__


@every_check
def test_its_limit_is_one_that_a_configuration_may_set(check: ModelCheck) -> None:
    known = {*Acceptance.model_fields, *StrategyAcceptance.model_fields}
    assert not check.limit or check.limit in known


@every_check
def test_what_cannot_be_measured_has_not_passed(check: ModelCheck) -> None:
    def refuses(case: ValidationCase) -> CheckFinding:
        raise ModelError("the bars are gone")

    def unmeasured(case: ValidationCase) -> CheckFinding:
        return CheckFinding(value=math.nan, limit=0.0, passed=True, sentence="nobody knows")

    refused = replace(check, judge=refuses, of=None)(ANY)
    assert (refused.passed, refused.sentence) == (False, "not measured: the bars are gone")
    assert not replace(check, judge=unmeasured, of=None)(ANY).passed


def with_returns(returns: Floats) -> Any:
    return SimpleNamespace(account=SimpleNamespace(returns=returns))


def test_a_check_that_joins_is_asked_and_its_control_fails_it() -> None:
    """Its control: the same small gains, and one day that makes as much as all others together."""
    steady = np.full(100, 0.001)
    assert no_lucky_day(with_returns(steady)).passed
    lucky = steady.copy()
    lucky[17] = 0.2
    judged = no_lucky_day(with_returns(lucky))
    assert not judged.passed
    assert judged.sentence == "the best session made 67% of the profit; at most 50% may"
    assert not no_lucky_day(with_returns(-steady)).passed
    assert list(CHECKS)[-1] == "no lucky day"
