"""Checks of how much luck is in it: what was tried, and the sealed hold-out."""

from __future__ import annotations

import math

from research.model_validation.case import HoldOutVerdict, ModelCase, ValidationCase
from research.model_validation.check import CheckFinding, at_least, model_check
from research.statistics.gate import hold_out_p_limit


@model_check(
    "deflated Sharpe",
    group="luck",
    asks="Does skill remain after counting everything that was tried?",
    limit="min_dsr",
)
def survives_deflation(case: ValidationCase) -> CheckFinding:
    """Compare the probability of skill after all trials: of a model's gain after every training.

    A training is judged by a nested walk-forward, so that its search steps do not count; see
    `overfitting.deflated_gain`. A strategy without a model is judged after every trial.
    """
    limit, found = case.acceptance.min_dsr, case.deflation
    what, tried = ("of the gain ", "training") if isinstance(case, ModelCase) else ("", "trial")
    counted = f"{found.trials:,} {tried}{'' if found.trials == 1 else 's'}"
    return at_least(
        found.dsr,
        limit,
        f"after {counted} ({found.independent:.0f} independent; the best of noise would reach "
        f"{found.chance:.2f}) the Sharpe ratio {what}is skill with a probability of {found.dsr:.1%}; at "
        f"least {limit:.1%} is needed",
    )


@model_check(
    "hold-out",
    group="hold-out",
    asks="Does the sealed end of the data, opened once per version, agree?",
    limit="min_hold_out_sharpe",
)
def hold_out_agrees(case: ValidationCase) -> CheckFinding:
    """Open the hold-out, or repeat what it said when it was opened.

    Judged is the Sharpe ratio of the gain, or of a strategy without a model its own. Only the first look of
    the family at these days is at unseen ones: look k also needs a p-value of at most 5 % x 6 / (pi k)^2,
    so that all looks together let luck through in 5 %.
    """
    limit = case.acceptance.min_hold_out_sharpe
    found = case.hold_out(True)
    if found is None:
        return CheckFinding(
            value=math.nan, limit=limit, passed=False, sentence="there is no hold-out to open"
        )
    what = "of the gain " if isinstance(case, ModelCase) else ""
    told = (
        f"Sharpe ratio {what}{found.sharpe:.2f} on the hold-out, {found.dates}; at least {limit:g} is needed"
    )
    if math.isnan(found.sharpe):
        return CheckFinding(value=math.nan, limit=limit, passed=False, sentence=_undefined(case, found))
    if found.looks == 1:
        return at_least(found.sharpe, limit, f"{told}; it was the first look of the family at these days")
    bound = hold_out_p_limit(found.looks)
    return CheckFinding(
        value=found.p_value,
        limit=bound,
        passed=found.p_value <= bound and found.sharpe >= limit,
        sentence=f"{told}; it was look {found.looks} of the family at these days, so that p = "
        f"{found.p_value:.2g} must be at most {bound:.2g}",
    )


def _undefined(case: ValidationCase, found: HoldOutVerdict) -> str:
    if isinstance(case, ModelCase):
        return (
            f"no gain could be measured on the hold-out, {found.dates}: the veto stopped everything or "
            "nothing there, or an earlier version opened it, which did not measure the gain"
        )
    return f"the account never moved on the hold-out, {found.dates}"


def sealed(case: ValidationCase, failed: int) -> CheckFinding:
    """Leave the hold-out closed for what is refused anyway, unless it was opened before."""
    if case.hold_out(False) is not None:
        return hold_out_agrees.judge(case)
    told = "1 other check refuses" if failed == 1 else f"{failed} other checks refuse"
    return CheckFinding(
        value=math.nan,
        limit=case.acceptance.min_hold_out_sharpe,
        passed=False,
        sentence=f"stays sealed: {told} the {case.kind} already",
    )
