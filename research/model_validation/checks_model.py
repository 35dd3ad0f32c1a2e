"""Checks of the model itself: what it leans on, what it answers, whether its answers mean what they say."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from lockstep.market.sessions import CALENDAR_COLUMNS
from lockstep.metrics import Floats
from research.model_validation.case import ModelCase
from research.model_validation.check import CheckFinding, at_least, at_most, check_of
from research.training.importance import chances
from research.training.probabilities import calibration

_CONTROLS = 3
_LARGEST_SHARE_DECIDED = 0.5
_DECIDED = 1e-3
_LEAST_PER_GROUP = 50
_GROUPS = 10


@check_of(
    ModelCase,
    "no single feature",
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
    ModelCase, "no calendar artefact", asks="Is what the model leans on most something else than the date?"
)
def no_calendar_on_top(case: ModelCase) -> CheckFinding:
    """Look whether the most important feature reads the calendar."""
    top = case.bundle.feature_ids[int(case.reliance.argmax())]
    terms = case.features.parse(top).terms
    dated = any(set(term.feature.inputs) & set(CALENDAR_COLUMNS) for term in terms)
    told = "which reads the calendar" if dated else "which does not read the calendar"
    return at_most(float(dated), 0, f"the most important feature is {top}, {told}")


@check_of(
    ModelCase,
    "shuffled labels",
    asks="Does the same training on shuffled labels find nothing?",
    limit="max_shuffled_auc",
)
def nothing_in_shuffled_labels(case: ModelCase) -> CheckFinding:
    """Fit every outer window on shuffled labels and compare the mean area under the ROC curve."""
    limit = case.acceptance.max_shuffled_auc
    areas = [_area_on_shuffled(case, case.outcome.seed + number) for number in range(_CONTROLS)]
    value = float(np.mean(areas))
    return at_most(
        value,
        limit,
        f"ROC area {value:.2f} on shuffled labels ({_CONTROLS} shuffles, all windows); 0.5 is chance, at "
        f"most {limit:g} is admitted",
    )


def _area_on_shuffled(case: ModelCase, seed: int) -> float:
    """Return the mean area over windows, by their samples; nan where no window has both classes."""
    data = case.outcome.dataset
    target = np.random.default_rng(seed).permutation(data.target)
    areas, sizes = [], []
    for window in case.outcome.windows:
        if np.ptp(target[window.test]) and np.ptp(target[window.train]):
            answers = chances(case.refit(window, target), data.features[window.test])
            areas.append(float(roc_auc_score(target[window.test], answers)))
            sizes.append(window.test.size)
    return float(np.average(areas, weights=sizes)) if areas else np.nan


@check_of(ModelCase, "undecided probabilities", asks="Are the probabilities something else than 0 and 1?")
def probabilities_are_undecided(case: ModelCase) -> CheckFinding:
    """Compare the share of answers within 0.001 of 0 or 1, out of sample and of the bundle itself."""
    shares = [float(((each < _DECIDED) | (each > 1 - _DECIDED)).mean()) for each in _answers(case)]
    value = max(shares)
    return at_most(
        value, _LARGEST_SHARE_DECIDED, f"{value:.0%} of the probabilities are 0 or 1; at most half may be"
    )


@check_of(
    ModelCase,
    "spread of probabilities",
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
    "share above threshold",
    asks="Does the veto let through a share of trades out of sample as it did in training?",
    limit="max_share_shift",
)
def share_is_like_in_training(case: ModelCase) -> CheckFinding:
    """Compare the share out of sample, some but not all, with that of the winning step out of fold."""
    limit, best = case.acceptance.max_share_shift, case.outcome.best
    before = float((best.probabilities >= case.outcome.threshold).mean())
    after = float(case.out_of_sample.passed.mean())
    told = f"{after:.0%} of the trades pass out of sample, {before:.0%} in training"
    if after in (0.0, 1.0):
        return CheckFinding(
            value=after, limit=limit, passed=False, sentence=f"{told}: the veto decides nothing"
        )
    return at_most(abs(after - before), limit, f"{told}; the difference may be {limit:.0%}")


@check_of(
    ModelCase,
    "calibration",
    asks="Do trades win about as often as their probability says?",
    limit="max_calibration_error",
)
def probabilities_are_calibrated(case: ModelCase) -> CheckFinding:
    """Compare the expected calibration error out of sample, in groups of fifty or more."""
    limit, found = case.acceptance.max_calibration_error, case.out_of_sample
    groups = max(1, min(_GROUPS, found.sample.size // _LEAST_PER_GROUP))
    value = calibration(found.probability, found.target, groups).error
    return at_most(
        value,
        limit,
        f"observed and predicted wins differ by {value:.3f} on average over {groups} groups of trades; at "
        f"most {limit:g} is admitted",
    )


def _answers(case: ModelCase) -> tuple[Floats, Floats]:
    """Return the walk-forward's probabilities and the bundle's own on the samples it was fitted on."""
    own = chances(case.bundle.pipeline, case.outcome.dataset.features[case.outcome.development])
    return case.out_of_sample.probability, own
