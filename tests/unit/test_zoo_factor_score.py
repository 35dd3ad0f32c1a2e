"""The factor score of a task by hand, and losses by market regime."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from lockstep.market.loader import load_history
from research.statistics.regimes import REGIMES
from research.zoo.factor_score import (
    PAST_RANGE,
    factor_score,
    means_by_regime,
    past_range,
    regimes_of,
    smaller_in_words,
)
from research.zoo.fitting import losses_of
from research.zoo.learning import LearningBars
from support.zoo import learning, spec


@pytest.fixture(scope="module")
def bars() -> LearningBars:
    return learning(load_history("COMP", start="2003-01-02", end="2009-12-31"))


def test_the_past_range_by_hand(bars: LearningBars) -> None:
    whole, found = bars.bars, past_range(bars.bars)
    assert np.isnan(found[:19]).all()
    for row in (19, 20, 500):
        past = slice(row - 19, row + 1)
        share = (whole.high[past] - whole.low[past]) / whole.close[past]
        assert found[row] == pytest.approx(math.log(share.mean()), rel=1e-12)


def test_nothing_of_the_future_is_in_it(bars: LearningBars) -> None:
    cut = past_range(bars.until(600).bars)
    assert cut.tobytes() == past_range(bars.bars)[:600].tobytes()


def test_the_line_on_past_volatility(bars: LearningBars) -> None:
    asked = spec()
    samples = bars.samples(asked)
    learned, part = np.arange(500), np.arange(600, 900)
    found = factor_score(bars, asked, samples, learned, part)
    assert found.name == PAST_RANGE == "range of the last 20 bars"
    score = past_range(bars.bars)[samples.row][:, None]
    scale = StandardScaler().fit(score[learned])
    line = Ridge(alpha=1.0).fit(scale.transform(score[learned]), samples.judged[learned])
    expected = (line.predict(scale.transform(score[part])) - samples.judged[part]) ** 2
    assert found.loss == pytest.approx(expected, rel=1e-9)
    constant = (samples.judged[part] - samples.judged[learned].mean()) ** 2
    assert found.loss.mean() < 0.8 * constant.mean(), "volatility clusters"


def test_a_direction_is_held_against_its_closest_feature(bars: LearningBars) -> None:
    """The feature is chosen where the line is fitted: other labels of the part change nothing."""
    asked = spec(task="direction", features=("day_of_month", "ibs", "ret_5"))
    samples = bars.samples(asked)
    learned, part = np.arange(600), np.arange(700, 900)
    found = factor_score(bars, asked, samples, learned, part)
    at = sorted(asked.features).index(found.name)
    column = samples.features[:, [at]]
    scale = StandardScaler().fit(column[learned])
    line = LogisticRegression(max_iter=1_000).fit(scale.transform(column[learned]), samples.judged[learned])
    chance = line.predict_proba(scale.transform(column[part]))[:, 1]
    assert found.loss == pytest.approx(losses_of("direction", chance, samples.judged[part]), rel=1e-6)
    samples.judged[part] = 1.0 - samples.judged[part]
    assert factor_score(bars, asked, samples, learned, part).name == found.name


def test_means_by_regime_add_up(bars: LearningBars) -> None:
    codes = regimes_of(bars)
    row = np.flatnonzero(np.isfinite(codes))
    values = np.random.default_rng(1).normal(size=row.size)
    found = means_by_regime(bars, row, values)
    assert list(found) == list(REGIMES.values())
    total = sum((codes[row] == code).sum() * found[name] for code, name in REGIMES.items())
    assert total == pytest.approx(values.sum())
    none = means_by_regime(bars, row[:0], values[:0])
    assert all(map(math.isnan, none.values()))
    assert smaller_in_words(none) == "no regime is known"
