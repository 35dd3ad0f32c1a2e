"""Checks of what the veto adds to the strategy that it filters: is the guest worth having?

A model without skill that filters a strategy with an edge keeps the strategy's edge, and with it the Sharpe
ratio, the profit factor and the drawdown. Only the comparison with no veto, at the same exposure, tells the
two apart; see `research.training.gain`.
"""

from __future__ import annotations

import math

from research.model_validation.case import ModelCase
from research.model_validation.check import CheckFinding, at_least, at_most, check_of
from research.training.gain import DRAWS, ranking


def _unmeasured(limit: float, sentence: str) -> CheckFinding:
    return CheckFinding(value=math.nan, limit=limit, passed=False, sentence=sentence)


def spelled(p_value: float) -> str:
    """Return a p-value as it is read: `p = 0.031`, `p < 0.001`."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


@check_of(
    ModelCase,
    "gain",
    group="gain",
    asks="Does the strategy earn more with the veto than without it, at the same exposure?",
    limit="min_gain",
)
def veto_gains(case: ModelCase) -> CheckFinding:
    """Bootstrap filtered minus unfiltered session P&L in blocks; the lower end of the interval decides."""
    limit, (low, high), gain = case.acceptance.min_gain, case.gain_interval, case.gain
    return CheckFinding(
        value=low,
        limit=limit,
        passed=low > limit,
        sentence=f"at the exposure of the strategy without it, the veto adds {gain.annual:+.1%} of the "
        f"capital a year {case.seen}; 90 % interval {low:+.1%} to {high:+.1%}, whose lower end must be above "
        f"{limit:.1%}",
    )


@check_of(
    ModelCase,
    "random veto",
    group="gain",
    asks="Does it choose better than lots that let as many signals of each window through?",
    limit="max_random_veto_p",
)
def beats_lots(case: ModelCase) -> CheckFinding:
    """Permute the out-of-sample answers within windows; trade what passes, one position at a time."""
    limit, found = case.acceptance.max_random_veto_p, case.random_veto
    if math.isnan(found.p_value):
        return _unmeasured(limit, "the veto lets no trade through: lots that let none through are as good")
    return at_most(
        found.p_value,
        limit,
        f"{found.found:,.0f} USD per bar in the market; of {DRAWS} vetoes that draw lots, "
        f"{found.better} do as well: {spelled(found.p_value)}, at most {limit:g} is admitted",
    )


@check_of(
    ModelCase,
    "ROC area",
    group="gain",
    asks="Does it give winners higher chances than losers?",
    limit="max_area_p",
)
def winners_rank_higher(case: ModelCase) -> CheckFinding:
    """Test the area under the ROC curve against .5 by Mann-Whitney, within windows, on separate trades."""
    limit, answers = case.acceptance.max_area_p, case.separate
    found = ranking(answers.probability, answers.target, answers.window)
    if math.isnan(found.p_value):
        return _unmeasured(limit, "no outer window holds a winner and a loser to be told apart")
    return at_most(
        found.p_value,
        limit,
        f"ROC area {found.area:.3f} out of sample over {answers.sample.size} trades that do not overlap; "
        f"{spelled(found.p_value)} against 0.5 (Mann-Whitney), at most {limit:g} is admitted",
    )


@check_of(
    ModelCase,
    "gain kept",
    group="gain",
    asks="Does the gain out of sample keep enough of the one in sample, on the same dates?",
    limit="min_gain_kept",
)
def gain_is_kept(case: ModelCase) -> CheckFinding:
    """Compare models that had not seen the dates with the bundle, which was fitted on them."""
    limit = case.acceptance.min_gain_kept
    inside, outside = case.gain_in_sample.sharpe, case.gain.sharpe
    dates = f"{case.span.start} to {case.span.end}"
    if math.isnan(inside) or inside <= 0:
        return CheckFinding(
            value=inside,
            limit=limit,
            passed=False,
            sentence=f"even in sample the veto adds nothing: Sharpe ratio of its gain {inside:.2f}, {dates}",
        )
    return at_least(
        outside / inside,
        limit,
        f"Sharpe ratio of the gain {outside:.2f} out of sample, {inside:.2f} in sample, both {dates}: "
        f"{outside / inside:.0%} kept; at least {limit:.0%} is needed",
    )
