"""Checks of the model itself: does it read what it cannot know, does it decide, what do its chances mean?"""

from __future__ import annotations

import math

import numpy as np

from lockstep.errors import TrainingError
from lockstep.market.history import History, SeriesKey
from lockstep.metrics import Integers
from research.model_validation.case import ModelCase
from research.model_validation.check import CheckFinding, at_most, check_of
from research.training.gain import ranking
from research.training.out_of_sample import traded_bars
from research.training.probabilities import brier_skill, spiegelhalter
from research.training.refit import answers_after

ANSWERS = "answers"
SHIFTS = 20
LEAST_SHIFTS = 5
_SESSIONS = 252


@check_of(
    ModelCase,
    "shuffled labels",
    group=ANSWERS,
    asks="Does the same training on labels that were shifted in time find nothing?",
    limit="max_shifted_errors",
)
def nothing_in_shifted_labels(case: ModelCase) -> CheckFinding:
    """Fit every outer window on circularly shifted labels; the mean ROC area must not lie above chance.

    A shift keeps the overlap of neighbouring labels, which a leak between training and test feeds on; a
    permutation would destroy it. Each shift moves every label by at least a year of sessions, and by as much
    as the longest lookback and the longest label together. The error of the mean comes from the shifts'
    spread.
    """
    limit, data = case.acceptance.max_shifted_errors, case.outcome.dataset
    rows = case.outcome.development
    possible = admitted_shifts(data.row[rows], least_distance(case))
    if possible.size < LEAST_SHIFTS:
        raise TrainingError(
            f"{case.bundle.symbol}: there is room for {possible.size} shifts of the labels, and "
            f"{LEAST_SHIFTS} are needed; train on a longer history"
        )
    chosen = possible[np.unique(np.linspace(0, possible.size - 1, SHIFTS).astype(np.int64))]
    areas = np.array([_area_on_shifted(case, int(shift)) for shift in chosen])
    error = float(areas.std(ddof=1)) / math.sqrt(areas.size)
    mean = float(areas.mean())
    bound = 0.5 + limit * error
    return CheckFinding(
        value=mean,
        limit=bound,
        passed=mean <= bound,
        sentence=f"mean ROC area {mean:.3f} on labels that were shifted in time, {areas.size} shifts of the "
        f"{possible.size} that there is room for; chance is 0.5, at most {bound:.3f} is admitted ({limit:g} "
        "standard errors above)",
    )


def least_distance(case: ModelCase) -> int:
    """Return by how many bars of the traded series a shift must move a label at least.

    252 sessions, or the longest lookback of a feature and the longest label together if that is more.
    """
    base, history, data = case.plan.base, case.history, case.outcome.dataset
    ends = traded_bars(case.outcome, history).end
    sessions = np.unique(history.markets[base.symbol].session.dates(ends, base.timeframe)).size
    lookback = max(case.plan.lookback(key) * _bars_of_base(history, base, key) for key in case.plan.keys)
    horizon = int((np.searchsorted(ends, data.exit) - data.row).max())
    return max(math.ceil(_SESSIONS * ends.size / sessions), math.ceil(lookback) + horizon)


def _bars_of_base(history: History, base: SeriesKey, key: SeriesKey) -> float:
    """Return how many bars of the base series there are for one of another series, at least 1."""
    return max(1.0, len(history.series(base)) / len(history.series(key)))


def admitted_shifts(row: Integers, distance: int) -> Integers:
    """Return every circular shift that moves each of n labels by at least `distance` bars, int64, rising.

    row   int64 (n,), rising: the bars of the samples; a shift by k gives sample i the label of i + k, and
          the last k samples those of the first ones
    """
    rows = np.concatenate((row, row))
    moved = (np.abs(rows[k : k + row.size] - row).min() for k in range(1, row.size))
    return 1 + np.flatnonzero(np.fromiter(moved, dtype=np.int64, count=max(0, row.size - 1)) >= distance)


def _area_on_shifted(case: ModelCase, shift: int) -> float:
    """Return the area over all windows, pairs within windows; nan where no window has both classes."""
    data, rows = case.outcome.dataset, case.outcome.development
    target = data.target.copy()
    target[rows] = np.roll(data.target[rows], -shift)
    answers, wins, windows = [], [], []
    for window in case.outcome.windows:
        if np.ptp(target[window.test]) and np.ptp(target[window.train]):
            answers.append(answers_after(case.outcome, window, target))
            wins.append(target[window.test])
            windows.append(np.full(window.test.size, window.number))
    if not answers:
        return math.nan
    return ranking(np.concatenate(answers), np.concatenate(wins), np.concatenate(windows)).area


@check_of(
    ModelCase,
    "share vetoed",
    group=ANSWERS,
    asks="Does the veto decide anything: does it stop some signals out of sample and let others through?",
    limit="min_veto_share",
)
def something_is_vetoed(case: ModelCase) -> CheckFinding:
    """Compare the share of out-of-sample signals that are vetoed with both of its bounds."""
    least, passed = case.acceptance.min_veto_share, case.out_of_sample.passed
    vetoed = float(1.0 - passed.mean())
    inside = least <= vetoed <= 1.0 - least
    return CheckFinding(
        value=vetoed,
        limit=least if vetoed < 0.5 else 1.0 - least,
        passed=inside,
        sentence=f"{vetoed:.0%} of the {passed.size} signals out of sample are vetoed; it must be between "
        f"{least:.0%} and {1.0 - least:.0%}",
    )


@check_of(
    ModelCase,
    "calibration",
    group=ANSWERS,
    asks="Do trades win as often as their probability says?",
    limit="max_calibration_z",
)
def probabilities_are_calibrated(case: ModelCase) -> CheckFinding:
    """Compare Spiegelhalter's z of the out-of-sample chances of separate trades."""
    limit, found = case.acceptance.max_calibration_z, case.separate
    z = spiegelhalter(found.probability, found.target)
    lean = "too sure of themselves" if z > 0 else "not sure enough of themselves"
    return at_most(
        abs(z),
        limit,
        f"Spiegelhalter's z is {z:+.2f} over {found.sample.size} trades that do not overlap: the "
        f"probabilities are {lean} if anything; at most {limit:g} either way is admitted",
    )


@check_of(
    ModelCase,
    "Brier skill",
    group=ANSWERS,
    asks="Are the probabilities nearer to what happened than the base rate is?",
    limit="min_brier_skill",
)
def probabilities_beat_the_base_rate(case: ModelCase) -> CheckFinding:
    """Compare the Brier score with that of the share of winners in each window's training."""
    limit, found, target = case.acceptance.min_brier_skill, case.separate, case.outcome.dataset.target
    rates = {each.number: float(target[each.train].mean()) for each in case.outcome.windows}
    base = np.array([rates[number] for number in found.window.tolist()])
    value = brier_skill(found.probability, found.target, base)
    return CheckFinding(
        value=value,
        limit=limit,
        passed=value > limit,
        sentence=f"Brier skill {value:+.3f} against the base rate of each window's training; it must be "
        f"above {limit:g}",
    )
