"""How often ALARM on slippage is false, how soon it is true; the whole is `benchmarks/soak.py slippage`."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import slippage
from lockstep.monitoring.slippage import TOLERANCE


@pytest.mark.parametrize("law", slippage.LAWS)
def test_residuals_have_the_mean_and_the_dependence_that_were_asked_for(law: str) -> None:
    means = np.full(2_000, TOLERANCE)
    ticks = slippage.residuals(np.random.default_rng(1), law, 200, means, deviation=1.5, lag=0.1)
    assert ticks.mean() == pytest.approx(TOLERANCE, abs=0.02)
    near = np.clip(ticks, -10, 10)
    assert np.corrcoef(near[:, :-1].ravel(), near[:, 1:].ravel())[0, 1] == pytest.approx(0.1, abs=0.02)


def test_false_alarms_are_within_their_bound() -> None:
    found, good = slippage.false_years(100, 1)
    assert good, found
    assert len(found) == 18


def test_a_tick_more_is_seen_as_soon_as_stated() -> None:
    found = slippage.delays(200, 2)
    assert found["gaussian, deviation 1.5 ticks, 1 tick worse"] <= slippage.MOST_FILLS
    assert found["heavy tails, deviation 1.5 ticks, 1 tick worse"] <= slippage.MOST_FILLS


def test_worse_fills_and_doubled_bets_break_the_rate() -> None:
    most = slippage.allowed(200) / 200
    assert slippage.years_with_alarm(200, 3, mean=TOLERANCE + 1.0) > 0.9
    assert slippage.years_with_alarm(200, 3, mean=TOLERANCE, times=5) > most
    assert slippage.years_with_alarm(200, 3, mean=TOLERANCE) <= most
