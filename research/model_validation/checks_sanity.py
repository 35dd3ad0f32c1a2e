"""Sanity: what a model that works cannot look like. Passing these says nothing about whether it works."""

from __future__ import annotations

import numpy as np

from lockstep.market.sessions import CALENDAR_COLUMNS
from lockstep.metrics import Floats
from research.model_validation.case import ModelCase
from research.model_validation.check import CheckFinding, at_least, at_most, check_of
from research.training.importance import chances

SANITY = "sanity"
_LARGEST_SHARE_DECIDED = 0.5
_DECIDED = 1e-3


@check_of(
    ModelCase,
    "spread of probabilities",
    group=SANITY,
    asks="Does the model tell trades apart at all?",
    limit="min_probability_spread",
)
def probabilities_spread(case: ModelCase) -> CheckFinding:
    """Compare the distance of the 5 % and 95 % quantiles, out of sample and of the bundle itself."""
    limit = case.acceptance.min_probability_spread
    value = min(float(np.subtract(*np.quantile(each, (0.95, 0.05)))) for each in _answers(case))
    return at_least(
        value, limit, f"90 % of the probabilities lie within {value:.3f}; at least {limit:g} is needed"
    )


@check_of(
    ModelCase,
    "undecided probabilities",
    group=SANITY,
    asks="Are the probabilities something else than 0 and 1?",
)
def probabilities_are_undecided(case: ModelCase) -> CheckFinding:
    """Compare the share of answers within 0.001 of 0 or 1, out of sample and of the bundle itself."""
    shares = [float(((each < _DECIDED) | (each > 1 - _DECIDED)).mean()) for each in _answers(case)]
    value = max(shares)
    return at_most(
        value, _LARGEST_SHARE_DECIDED, f"{value:.0%} of the probabilities are 0 or 1; at most half may be"
    )


@check_of(
    ModelCase,
    "no single feature",
    group=SANITY,
    asks="Does the model lean on several features, none of which decides alone?",
    limit="max_importance_share",
)
def no_feature_dominates(case: ModelCase) -> CheckFinding:
    """Compare the largest share of what shuffling single features moves."""
    limit = case.acceptance.max_importance_share
    total = float(case.reliance.sum())
    if total == 0:
        return at_most(1.0, 0.0, "no feature moves the probability: the model reads nothing")
    top = int(case.reliance.argmax())
    share = float(case.reliance[top]) / total
    return at_most(
        share,
        limit,
        f"{case.bundle.feature_ids[top]} has {share:.0%} of the importance; at most {limit:.0%} is admitted",
    )


@check_of(
    ModelCase,
    "no calendar artefact",
    group=SANITY,
    asks="Is what the model leans on most something else than the date?",
)
def no_calendar_on_top(case: ModelCase) -> CheckFinding:
    """Look whether the most important feature reads the calendar."""
    top = case.bundle.feature_ids[int(case.reliance.argmax())]
    terms = case.features.parse(top).terms
    dated = any(set(term.feature.inputs) & set(CALENDAR_COLUMNS) for term in terms)
    told = "which reads the calendar" if dated else "which does not read the calendar"
    return at_most(float(dated), 0, f"the most important feature is {top}, {told}")


def _answers(case: ModelCase) -> tuple[Floats, Floats]:
    """Return the walk-forward's probabilities and the bundle's own on the samples it was fitted on."""
    own = chances(case.bundle.pipeline, case.outcome.dataset.features[case.outcome.development])
    return case.out_of_sample.probability, own
