"""Every check on a model, in the order in which they are made; the hold-out comes last."""

from __future__ import annotations

import math
from dataclasses import replace

from lockstep.plugs import Registry
from research.model_validation.case import StrategyCase, ValidationCase
from research.model_validation.check import ModelCheck
from research.model_validation.checks_gain import (
    beats_lots,
    gain_is_kept,
    veto_gains,
    winners_rank_higher,
)
from research.model_validation.checks_inputs import (
    features_are_served,
    golden_vectors_come_out,
    streaming_equals_batch,
)
from research.model_validation.checks_luck import hold_out_agrees, sealed, survives_deflation
from research.model_validation.checks_model import (
    nothing_in_shifted_labels,
    probabilities_are_calibrated,
    probabilities_beat_the_base_rate,
    something_is_vetoed,
)
from research.model_validation.checks_result import (
    both_halves_earn,
    challenger_holds,
    drawdown_is_bearable,
    enough_trades,
    profit_factor_is_enough,
    sharpe_is_enough,
    survives_twice_the_costs,
)
from research.model_validation.checks_sanity import (
    no_calendar_on_top,
    no_feature_dominates,
    probabilities_are_undecided,
    probabilities_spread,
)
from research.statistics.gate import Check, GateVerdict

CHECKS: Registry[ModelCheck] = Registry(
    "model check",
    (
        features_are_served,
        streaming_equals_batch,
        golden_vectors_come_out,
        veto_gains,
        beats_lots,
        winners_rank_higher,
        gain_is_kept,
        enough_trades,
        sharpe_is_enough,
        profit_factor_is_enough,
        drawdown_is_bearable,
        both_halves_earn,
        survives_twice_the_costs,
        challenger_holds,
        survives_deflation,
        nothing_in_shifted_labels,
        something_is_vetoed,
        probabilities_are_calibrated,
        probabilities_beat_the_base_rate,
        probabilities_spread,
        probabilities_are_undecided,
        no_feature_dominates,
        no_calendar_on_top,
        hold_out_agrees,
    ),
    name=lambda check: check.name,
)
"""To add one: a file that declares it with `model_check`, an import, and a line above."""


def asked_of(kind: type[ValidationCase]) -> tuple[ModelCheck, ...]:
    """Return the checks that a verdict on a version of some kind lists.

    A strategy is asked everything, so that its report shows what of a model's questions does not apply to it.
    What only a strategy can be asked is left out of a model's.
    """
    return tuple(each for each in CHECKS.values() if each.of is not StrategyCase or kind is StrategyCase)


def judge_model(case: ValidationCase, *, retrained: bool = False) -> GateVerdict:
    """Make every check. The hold-out is opened only for what passed all others.

    retrained   it is tested on bars that did not exist when it was trained: its hold-out stays sealed, and
                that check does not apply
    """
    found: list[Check] = [each(case) for each in asked_of(type(case)) if each is not hold_out_agrees]
    if retrained:
        return GateVerdict(checks=(*found, _tested_in_shadow()))
    failed = sum(each.applies and not each.passed for each in found)
    last = (
        replace(hold_out_agrees, judge=lambda judged: sealed(judged, failed)) if failed else hold_out_agrees
    )
    return GateVerdict(checks=(*found, last(case)))


def _tested_in_shadow() -> Check:
    return Check(
        name=hold_out_agrees.name,
        value=math.nan,
        limit=math.nan,
        passed=False,
        sentence="not applicable: a retraining is tested in shadow, on bars that came after its training, "
        "and its hold-out stays sealed",
        applies=False,
    )
