"""What a model is held against beside a constant: scores without a model, and the market regimes.

The *factor score* of a task is what a desk would look at without a model:

    volatility, regime    the mean range of the last 20 bars as a share of the close, its log: past volatility
    direction, return     the feature of the spec that follows the label most closely where was learned from

A straight line on it (a ridge or logistic regression of one column) is fitted where the model is fitted and
judged where it is judged. The *linear score* is such a line on all features of the spec.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import rankdata

from lockstep.market.bars import Bars, Floats
from lockstep.strategy.config import REGIME_ID
from research.statistics.regimes import REGIMES
from research.zoo.fitting import fit, losses
from research.zoo.learning import LabelledBars, LearningBars, Rows
from research.zoo.model_spec import ModelSpec

_PAST = 20
PAST_RANGE = f"range of the last {_PAST} bars"


@dataclass(frozen=True, kw_only=True, eq=False)
class FactorScore:
    """The factor score of a task: what it is, in words, and its losses, float64 (n,)."""

    name: str
    loss: Floats


def factor_score(
    bars: LearningBars, spec: ModelSpec, samples: LabelledBars, learned: Rows, part: Rows
) -> FactorScore:
    """Fit the factor score on some samples of a spec, and return its losses on others, by their positions."""
    if spec.task in ("volatility", "regime"):
        name, score = PAST_RANGE, past_range(bars.bars)[samples.row]
    else:
        name, score = _closest(spec, samples, learned)
    # The first bars have no past: they count as the mean of the others.
    known = score[learned][np.isfinite(score[learned])]
    column = np.where(np.isfinite(score), score, known.mean() if known.size else 0.0)[:, None]
    alone = replace(samples, features=np.ascontiguousarray(column), taught=samples.judged)
    line = fit(linear_score(spec), alone, learned)
    return FactorScore(name=name, loss=losses(spec.task, line, column[part], samples.judged[part]))


def linear_score(spec: ModelSpec) -> ModelSpec:
    """Return a linear model of the same question and features: what a weighted sum of them is worth."""
    return ModelSpec(task=spec.task, horizon=spec.horizon, features=spec.features, estimator="logistic")


def past_range(bars: Bars) -> Floats:
    """Return the log of the mean range of the last 20 bars as a share of the close, float64 (n,).

    NaN in the first 19 bars, and where a close or the mean is not above 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(bars.close > 0.0, (bars.high - bars.low) / bars.close, np.nan)
        found = np.full(share.size, np.nan)
        if share.size >= _PAST:
            found[_PAST - 1 :] = sliding_window_view(share, _PAST).mean(axis=1)
        return np.log(np.where(found > 0.0, found, np.nan))


def _closest(spec: ModelSpec, samples: LabelledBars, learned: Rows) -> tuple[str, Floats]:
    label = rankdata(samples.judged[learned])
    ids = sorted(spec.features)
    close = [
        abs(float(np.corrcoef(rankdata(column), label)[0, 1])) if np.ptp(column) > 0.0 else 0.0
        for column in samples.features[learned].T
    ]
    at = int(np.argmax(close))
    return ids[at], samples.features[:, at]


def regimes_of(bars: LearningBars) -> Floats:
    """Return the market regime that is known at each bar, float64 (size,): codes of `REGIMES`, or NaN."""
    return bars.matrix([REGIME_ID])[:, 0]


def means_by_regime(bars: LearningBars, row: Rows, values: Floats) -> dict[str, float]:
    """Return, by name of the regime, the mean of values at bars `row`, (n,) each; NaN where there is none."""
    codes = regimes_of(bars)[row]
    return {name: mean(values[codes == code]) for code, name in REGIMES.items()}


def mean(values: Floats) -> float:
    """Return the mean, NaN of nothing."""
    return float(values.mean()) if values.size else math.nan


def smaller_in_words(by_regime: Mapping[str, float | None]) -> str:
    """Return how much smaller a loss is, by regime, in words.

    >>> smaller_in_words({"bull": 0.02, "bear": -0.005, "sideways": None})
    'bull 0.02, bear -0.005'
    """
    known = {name: each for name, each in by_regime.items() if each is not None and math.isfinite(each)}
    return ", ".join(f"{name} {each:.2g}" for name, each in known.items()) or "no regime is known"
