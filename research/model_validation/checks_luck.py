"""Checks of how much luck is in it: trials, the choice among them, and the sealed hold-out."""

from __future__ import annotations

import math

from research.model_validation.case import ModelCase, ValidationCase
from research.model_validation.check import CheckFinding, at_least, check_of, model_check
from research.training.overfitting import search_overfitting


@model_check(
    "deflated Sharpe",
    asks="Does skill remain after counting every trial in the ledger?",
    limit="min_dsr",
)
def survives_deflation(case: ValidationCase) -> CheckFinding:
    """Compare the probability of skill after all trials."""
    limit, found = case.acceptance.min_dsr, case.deflation
    return at_least(
        found.dsr,
        limit,
        f"after {found.trials:,} {'trial' if found.trials == 1 else 'trials'} ({found.independent:.0f} "
        f"independent; the best of noise would reach {found.chance:.2f}) the probability of skill is "
        f"{found.dsr:.1%}; at least {limit:.1%} is needed",
    )


@check_of(
    ModelCase,
    "overfitting",
    asks="Does the best step of one half of history stay good in the other?",
    limit="max_pbo",
)
def choice_is_not_luck(case: ModelCase) -> CheckFinding:
    """Compare the probability of backtest overfitting over the search steps, by CSCV; below the limit."""
    limit, found = case.acceptance.max_pbo, search_overfitting(case.outcome)
    if found is None and len(case.outcome.steps) == 1:
        return CheckFinding(
            value=0.0, limit=limit, passed=True, sentence="one step: no choice that could overfit"
        )
    value = math.nan if found is None else found.probability
    return CheckFinding(
        value=value,
        limit=limit,
        passed=value < limit,
        sentence=f"choosing the best of {len(case.outcome.steps)} steps fails with a probability of "
        f"{value:.0%}; it must be below {limit:.0%}",
    )


@model_check(
    "hold-out",
    asks="Does the sealed end of the data, opened once per version, agree?",
    limit="min_hold_out_sharpe",
)
def hold_out_agrees(case: ValidationCase) -> CheckFinding:
    """Open the hold-out, or repeat what it said when it was opened."""
    limit = case.acceptance.min_hold_out_sharpe
    found = case.hold_out(True)
    if found is None:
        return CheckFinding(
            value=math.nan, limit=limit, passed=False, sentence="there is no hold-out to open"
        )
    return at_least(
        found.sharpe,
        limit,
        f"Sharpe ratio {found.sharpe:.2f} on the hold-out, {found.dates}; at least {limit:g} is needed; it "
        f"was look {found.looks} of the family at these days",
    )


def sealed(case: ValidationCase, failed: int) -> CheckFinding:
    """Leave the hold-out closed for what is refused anyway, unless it was opened before."""
    limit = case.acceptance.min_hold_out_sharpe
    if case.hold_out(False) is not None:
        return hold_out_agrees.judge(case)
    told = "1 other check refuses" if failed == 1 else f"{failed} other checks refuse"
    return CheckFinding(
        value=math.nan,
        limit=limit,
        passed=False,
        sentence=f"stays sealed: {told} the {case.kind} already",
    )
