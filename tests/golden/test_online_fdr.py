"""Another library as an oracle: e-BH, calibrators and a betting e-process of online-fdr."""

from __future__ import annotations

import math

import numpy as np
import pytest
from online_fdr.e_values.batch import e_bh as their_e_bh
from online_fdr.e_values.processes import BettingEProcess
from online_fdr.e_values.toolbox import p_to_e_power, weighted_arithmetic_mean

from lockstep.monitoring.eprocess import BETS, e_bh, e_process, history_evidence


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_discoveries(seed: int, rate: float) -> None:
    random = np.random.default_rng(seed)
    values = np.exp(random.normal(2.0, 2.0, random.integers(1, 200)))
    # Some equal ones, some zeros, some exactly at a threshold.
    values[random.integers(0, values.size, values.size // 4)] = values[0]
    values[random.integers(0, values.size, values.size // 8)] = 0.0
    values[random.integers(0, values.size)] = values.size / (rate * random.integers(1, values.size + 1))
    assert e_bh(values, rate).tolist() == their_e_bh(values.tolist(), rate)


def test_no_candidates() -> None:
    assert e_bh([], 0.1).tolist() == their_e_bh([], 0.1) == []


@pytest.mark.parametrize("p_value", [1e-15, 1e-9, 0.0003, 0.02, 0.6, 1.0])
@pytest.mark.parametrize("trials", [1, 7, 350])
def test_the_calibrator_of_history(p_value: float, trials: int) -> None:
    theirs = p_to_e_power(min(1.0, trials * p_value), 0.5)
    assert history_evidence(p_value, trials, adaptive=False) == pytest.approx(theirs, rel=1e-14)


def test_the_evidence_is_the_mean_of_betting_processes() -> None:
    x = np.random.default_rng(5).standard_t(5, 300)
    theirs = [BettingEProcess(bet) for bet in BETS]
    # Theirs refuses a loss that ours clips.
    inside = np.maximum(x, -6.5)
    for ours, each in zip(e_process(inside), inside, strict=True):
        assert ours == pytest.approx(
            weighted_arithmetic_mean([bet.update(each) for bet in theirs]), rel=1e-11
        )
    assert math.isclose(ours, e_process(inside)[-1])
