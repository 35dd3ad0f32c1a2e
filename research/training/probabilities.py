"""How good probabilities are: calibration and discrimination."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from sklearn import metrics as scores

from lockstep.errors import DataError
from lockstep.metrics import Floats, Integers

_Z = 1.959964


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Predicted against observed wins in b groups of similar size, by rising probability.

    predicted   float64 (b,): mean probability; observed float64 (b,): share of wins
    low, high   float64 (b,): 95 % Wilson interval of `observed`
    count       int64 (b,): samples of the group
    """

    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats
    count: Integers

    @property
    def error(self) -> float:
        """Expected calibration error: mean of |observed - predicted|, weighted by samples, [0, 1].

        Naeini, Cooper and Hauskrecht (2015), Obtaining Well Calibrated Probabilities Using Bayesian Binning,
        AAAI, with groups of equal size.
        """
        return float(np.average(np.abs(self.observed - self.predicted), weights=self.count))


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """A curve of m points, `x` and `y` float64 (m,), and its area: ROC, or precision (y) on recall (x)."""

    x: Floats
    y: Floats
    area: float


def calibration(probability: Floats, target: Integers, groups: int = 10) -> Calibration:
    """Group `probability` (n,) against `target` (n,) of 0 and 1; DataError without a sample."""
    _require(probability, target)
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(groups, order.size))
    count = np.array([part.size for part in parts], dtype=np.int64)
    observed = np.array([target[part].mean() for part in parts])
    low, high = wilson(observed, count)
    return Calibration(
        predicted=np.array([probability[part].mean() for part in parts]),
        observed=observed,
        low=low,
        high=high,
        count=count,
    )


def wilson(share: Floats, count: Integers) -> tuple[Floats, Floats]:
    """Return the bounds of the 95 % interval of shares among `count`. Wilson (1927), JASA 22, 209-212."""
    scale = 1.0 + _Z**2 / count
    centre = (share + _Z**2 / (2 * count)) / scale
    reach = _Z * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / scale
    return centre - reach, centre + reach


def spiegelhalter(probability: Floats, target: Integers) -> float:
    """Return Spiegelhalter's z: standard normal where probabilities (n,) mean what they say.

    Sum of (y - p)(1 - 2p) over the root of sum of (1 - 2p)^2 p(1 - p). Positive: too sure of themselves,
    wins are rarer where the chance is high and more frequent where it is low. nan where every chance is 0,
    one half or 1. The n outcomes must not depend on one another.

    Spiegelhalter (1986), Probabilistic prediction in patient management and clinical trials, Statistics in
    Medicine 5, 421-433.
    """
    _require(probability, target)
    lean = 1.0 - 2.0 * probability
    variance = float((lean**2 * probability * (1.0 - probability)).sum())
    return float(((target - probability) * lean).sum()) / math.sqrt(variance) if variance > 0 else math.nan


def brier_skill(probability: Floats, target: Integers, base: Floats) -> float:
    """Return 1 - Brier score of `probability` over that of `base`, each (n,): above 0 where it knows more.

    base   chances that were known beforehand without a model, such as the share of earlier winners; nan
           where these are never wrong. Brier (1950), Monthly Weather Review 78, 1-3
    """
    _require(probability, target)
    reference = float(((target - base) ** 2).mean())
    return 1.0 - float(((target - probability) ** 2).mean()) / reference if reference > 0 else math.nan


def roc(probability: Floats, target: Integers) -> Curve | None:
    """Return false positives (x) against true positives (y); None where all samples are of one class."""
    _require(probability, target)
    if np.ptp(target) == 0:
        return None
    x, y, _ = scores.roc_curve(target, probability)
    return Curve(x=x, y=y, area=float(scores.roc_auc_score(target, probability)))


def precision_recall(probability: Floats, target: Integers) -> Curve | None:
    """Return precision (y) against recall (x), its area the average precision; None without a winner."""
    _require(probability, target)
    if not target.any():
        return None
    y, x, _ = scores.precision_recall_curve(target, probability)
    return Curve(x=x, y=y, area=float(scores.average_precision_score(target, probability)))


def _require(probability: Floats, target: Integers) -> None:
    if not probability.size or probability.shape != target.shape:
        raise DataError(
            f"{probability.size} probabilities, {target.size} labels: need one each, at least one"
        )
