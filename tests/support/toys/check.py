"""A check before a version is promoted: the best day must not have made most of the profit."""

from __future__ import annotations

from research.model_validation.case import ValidationCase
from research.model_validation.check import CheckFinding, at_most, model_check

LIMIT = 0.5


@model_check("no lucky day", asks="Would the result stand without its best session?")
def no_lucky_day(case: ValidationCase) -> CheckFinding:
    """Compare the best session's gain with the whole."""
    gains = case.account.returns
    share = float(gains.max() / gains.sum()) if gains.sum() > 0 else 1.0
    return at_most(share, LIMIT, f"the best session made {share:.0%} of the profit; at most {LIMIT:.0%} may")
