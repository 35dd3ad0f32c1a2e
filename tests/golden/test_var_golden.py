"""Value at risk and its backtests against published numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skfolio import measures

from lockstep.metrics import Floats
from lockstep.portfolio.var import calculate_cvar, calculate_var, in_domain, tail_risk
from lockstep.portfolio.var_decomposition import var_decomposition
from research.statistics.var_backtests import (
    coverage_statistic,
    independence_statistic,
    shortfall_statistics,
)


def history(n00: int, pairs: int, n11: int) -> Floats:
    """Return hits with so many steps 0-0, 0-1 (as many 1-0) and 1-1."""
    found = [0]
    for place in range(pairs):
        found += [1] * (1 + (n11 if place == 0 else 0)) + [0]
    return np.array(found + [0] * n00, dtype=np.bool_)


def test_published_example_of_the_coverage_tests() -> None:
    # MathWorks, Risk Management Toolbox, varbacktest.cc: 1,043 sessions, 57 failures at 95 %.
    hits = history(932, 53, 4)
    assert (hits.size, hits.sum()) == (1043, 57)
    covered, chained = float(coverage_statistic(57, 1043, 0.05)), float(independence_statistic(hits))
    assert covered == pytest.approx(0.46147, abs=5e-6)
    assert chained == pytest.approx(0.25866, abs=5e-6)
    assert covered + chained == pytest.approx(0.72013, abs=5e-6)


@pytest.mark.parametrize(
    ("hits", "tail", "covered", "chained"),
    [
        # Jorion (2007), Value at Risk, 3rd ed., chapter 6: J.P. Morgan in 1998, 20 exceptions of 252, six of
        # them after another; and question 10, six exceptions of 252 at 99 %, four of them after another.
        (history(218, 14, 6), 0.05, 3.91, 9.53),
        (history(244, 2, 4), 0.01, 3.498, 25.837),
    ],
)
def test_textbook_examples_of_the_coverage_tests(
    hits: Floats, tail: float, covered: float, chained: float
) -> None:
    assert float(coverage_statistic(hits.sum(), 252, tail)) == pytest.approx(covered, abs=5e-3)
    assert float(independence_statistic(hits)) == pytest.approx(chained, abs=5e-3)


def test_published_law_of_the_shortfall_statistic() -> None:
    # MathWorks, esbacktest.unconditionalNormal: 1,966 sessions at 97.5 %: the critical value at 99 % is
    # -0.34639, and -0.38265 has a p-value of 0.0054.
    rng = np.random.default_rng(1)
    tail, sessions = 0.025, 1966
    quantile, shortfall = 1.959964, 0.0584451 / tail
    found = []
    for _ in range(40):
        loss = rng.standard_normal((250, sessions))
        found.append(shortfall_statistics(loss > quantile, loss / shortfall, tail)[1])
    drawn = np.concatenate(found)
    assert np.quantile(drawn, 0.01) == pytest.approx(-0.34639, abs=0.012)
    assert np.mean(drawn <= -0.38265) == pytest.approx(0.0054, abs=0.0025)


def test_textbook_example_of_a_decomposition() -> None:
    # Jorion (2007), chapter 7: CAD 2 million at 5 %, EUR 1 million at 12 %, uncorrelated, 95 % with 1.65.
    sign = np.tile([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], (25, 1))
    changes = sign * [0.05, 0.12]
    found = var_decomposition(changes, [2e6, 1e6], ["CAD", "EUR"], 0.05, method="normal", decay=1 - 1e-9)
    exact = 1.65 / 1.6448536269514722
    assert found.total.var * exact == pytest.approx(257_738, abs=1)
    assert found.alone_var * exact == pytest.approx([165_000, 198_000], abs=1)
    assert found.component_var * exact == pytest.approx([105_630, 152_108], abs=1)
    assert found.marginal_var * exact == pytest.approx([0.0528, 0.1521], abs=5e-5)
    assert found.incremental_var * exact == pytest.approx([257_738 - 198_000, 257_738 - 165_000], abs=1)


@pytest.mark.parametrize("tail", [0.05, 0.01])
def test_historical_measures_are_those_of_skfolio(tail: float) -> None:
    beta = 1 - tail
    pnl = np.random.default_rng(2).standard_t(4, size=1000)
    assert calculate_cvar(pnl, tail, method="historical") == pytest.approx(measures.cvar(pnl, beta=beta))
    # At 1,000 sessions (1 - .95) x 1,000 exceeds 50 by rounding, and skfolio takes the next loss.
    some = pnl[:990]
    oracle = measures.value_at_risk(some, beta=beta)
    assert calculate_var(some, tail, method="historical") == pytest.approx(oracle)


def test_cornish_fisher_is_that_of_the_literature() -> None:
    """The quantile as Zangari (1996) writes it, its shortfall by integration of the quantile."""
    pnl = np.random.default_rng(3).gamma(12.0, size=600)
    centred = pnl - pnl.mean()
    deviation = pnl.std()
    skewness, excess = (centred**3).mean() / deviation**3, (centred**4).mean() / deviation**4 - 3
    assert in_domain(skewness, excess)

    def quantile(z: Floats) -> Floats:
        bent = z + (z**2 - 1) * skewness / 6 + (z**3 - 3 * z) * excess / 24
        return np.asarray(bent - (2 * z**3 - 5 * z) * skewness**2 / 36)

    found = tail_risk(pnl, 0.01, method="cornish_fisher")
    least = -2.3263478740408408
    assert found.var == pytest.approx(-(pnl.mean() + deviation * quantile(np.array(least))), rel=1e-12)
    z = np.linspace(-9.0, least, 200_001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    below = np.trapezoid(quantile(z) * density, z) / 0.01
    assert found.es == pytest.approx(-(pnl.mean() + deviation * below), rel=1e-7)


def test_domain_of_cornish_fisher_is_that_of_maillard() -> None:
    # Maillard (2012): without skew the excess kurtosis lies within 0 and 8; greatest skew 6(2^.5 - 1).
    assert in_domain(0.0, 0.0)
    assert in_domain(0.0, 8.0 - 1e-9)
    assert not in_domain(0.0, 8.1)
    assert not in_domain(0.0, -1e-9)
    greatest = 6 * (math.sqrt(2) - 1)
    kurtoses = np.arange(0, 16, 0.01)
    inside = [skew for skew in np.arange(0, 3, 0.002) if any(in_domain(skew, each) for each in kurtoses)]
    assert max(inside) == pytest.approx(greatest, abs=0.02)
