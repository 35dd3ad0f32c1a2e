"""A/B tests: years and power by the formula, verdicts by their rules, arms by their hash."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ConfigError, DataError
from lockstep.monitoring.ab import AbMode, AbPlan, AbVerdict, judge, paired_effect, planned, years_of_one_look
from lockstep.monitoring.eprocess import confidence_sequence
from lockstep.portfolio.split import CHALLENGER, CHAMPION, arm_of

PLAN = planned(1.0, mode=AbMode.REPLAY, correlation=0.95, paths=50)


def judged(x: Any, plan: AbPlan = PLAN, *, trades: int = 1) -> tuple[AbVerdict, int]:
    counts = np.full(len(x), trades)
    found = judge(x, counts, counts, plan)
    return found.verdict, found.at


class TestPlan:
    @pytest.mark.parametrize(("correlation", "years"), [(0.9, 4.9), (0.95, 2.5), (0.98, 1.0)])
    def test_years_that_both_arms_on_every_signal_need(self, correlation: float, years: float) -> None:
        effect = paired_effect(0.5, mode=AbMode.REPLAY, correlation=correlation)
        assert years_of_one_look(effect) == pytest.approx(years, abs=0.05)

    def test_halves_of_the_signals_need_a_century_whatever_the_correlation(self) -> None:
        for correlation in (0.0, 0.99, 1.0):
            effect = paired_effect(0.5, mode=AbMode.SPLIT, correlation=correlation)
            assert years_of_one_look(effect) == pytest.approx(99, abs=0.5)

    @pytest.mark.parametrize("mode", list(AbMode))
    def test_the_effect_is_that_of_returns(self, mode: AbMode) -> None:
        """The formula against two long accounts with the stated difference and correlation."""
        random, n, rho, d = np.random.default_rng(3), 1_000_000, 0.9, 4.0
        common, a, b = random.normal(size=(3, n))
        champion = math.sqrt(rho) * common + math.sqrt(1 - rho) * a
        challenger = math.sqrt(rho) * common + math.sqrt(1 - rho) * b + d / math.sqrt(252)
        if mode is AbMode.SPLIT:
            mine = random.random(n) < 0.5
            champion, challenger = np.where(mine, 0.0, champion), np.where(mine, challenger, 0.0)
        paired = challenger - champion
        measured = paired.mean() / paired.std() * math.sqrt(252)
        assert paired_effect(d, mode=mode, correlation=rho) == pytest.approx(measured, rel=0.03)

    def test_who_looks_every_day_needs_about_twice_as_long(self) -> None:
        plan = planned(0.5, mode=AbMode.REPLAY, correlation=0.98, paths=600)
        assert 1.9 < plan.needed_years / plan.one_look_years < 2.4
        assert plan.power == pytest.approx(0.8, abs=0.005)
        assert plan.sessions == round(plan.needed_years * 252)
        assert plan.power_by_year == tuple(sorted(plan.power_by_year))
        shorter = planned(0.5, mode=AbMode.REPLAY, correlation=0.98, years=1.0, paths=600)
        assert (shorter.sessions, shorter.power) == (252, plan.power_by_year[0])
        assert shorter.needed_years == plan.needed_years

    def test_few_trades_make_it_longer_and_no_test_outlasts_its_strategies(self) -> None:
        rare = planned(0.5, mode=AbMode.REPLAY, correlation=0.98, trades_a_year=6, paths=200)
        assert rare.needed_years >= 5
        hopeless = planned(0.5, mode=AbMode.SPLIT, paths=50)
        assert (hopeless.needed_years, hopeless.sessions) == (math.inf, 25 * 252)

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"difference": 0.0}, "difference 0.0"),
            ({"correlation": 1.0}, "must be below 1"),
            ({"trades_a_year": 0.0}, "an arm without trades"),
            ({"years": 30}, "up to 25 years"),
        ],
    )
    def test_what_cannot_be_planned(self, given: dict[str, Any], told: str) -> None:
        numbers = {"difference": 0.5, "correlation": 0.9} | given
        with pytest.raises(ConfigError, match=told):
            planned(**numbers, mode=AbMode.REPLAY)


class TestVerdicts:
    def test_nothing_is_decided_before_sixty_sessions(self) -> None:
        assert judged(np.full(59, 1.0)) == (AbVerdict.RUNNING, -1)
        assert judged(np.full(60, 1.0)) == (AbVerdict.WON, 59)
        assert judged(np.full(60, -1.0)) == (AbVerdict.LOST, 59)

    def test_nor_before_thirty_trades_of_each_arm(self) -> None:
        x, many, few = np.full(100, 1.0), np.full(100, 1), np.arange(100) % 5 == 4
        for counts in ((many, few), (few, many)):
            assert judge(x, *counts, PLAN).verdict is AbVerdict.RUNNING
        few = np.arange(100) % 3 == 2
        assert judge(x, many, few, PLAN).at == 89

    def test_the_first_session_that_decides_stays_whatever_comes(self) -> None:
        x = np.concatenate((np.full(100, 0.8), np.full(300, -2.0)))
        assert judged(x)[0] is AbVerdict.WON
        assert judged(x[:150]) == judged(x)

    def test_alike_arms_end_early_and_all_tests_end(self) -> None:
        plan = replace(PLAN, sessions=2_000)
        verdict, at = judged(np.tile([0.1, -0.1], 1_000), plan)
        assert (verdict, at < 1_999) == (AbVerdict.FUTILE, True)
        found = judge(np.tile([2.0, -2.0], 500), np.ones(1_000), np.ones(1_000), replace(PLAN, sessions=300))
        assert (found.verdict, found.at) == (AbVerdict.FUTILE, 299)
        assert "300 sessions are over" in found.reason

    def test_an_arm_that_stopped_trading_ends_with_the_plan(self) -> None:
        plan = replace(PLAN, sessions=200)
        assert judged(np.full(300, 1.0), plan, trades=0) == (AbVerdict.FUTILE, 199)

    def test_the_bounds_are_those_of_the_sequence(self) -> None:
        x = np.random.default_rng(1).normal(0.05, 1.0, 80)
        found = judge(x, np.ones(80), np.ones(80), PLAN)
        low, high = confidence_sequence(x)
        assert np.array_equal(found.low, low)
        assert np.array_equal(found.high, high)
        assert found.mean[-1] == pytest.approx(x.mean())

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_missing_session_is_refused(self, bad: float) -> None:
        with pytest.raises(DataError, match="one finite difference"):
            judge([0.1, bad], [1, 1], [1, 1], PLAN)

    def test_no_session_says_nothing(self) -> None:
        assert judged(np.empty(0)) == (AbVerdict.RUNNING, -1)


class TestArms:
    def test_half_of_the_signals_each_and_another_test_shares_them_otherwise(self) -> None:
        stamps = [1_772_485_200_000_000_000 + each * 86_400_000_000_000 for each in range(2_000)]
        arms = [arm_of("a", "ES", "2026-03-02", each) for each in stamps]
        share = np.mean([each == CHALLENGER for each in arms])
        assert abs(share - 0.5) < 3 * 0.5 / math.sqrt(2_000)
        for changed in (("b", "ES", "2026-03-02"), ("a", "NQ", "2026-03-02"), ("a", "ES", "2026-03-03")):
            other = [arm_of(*changed, each) for each in stamps]
            assert 0.4 < np.mean([one == two for one, two in zip(arms, other, strict=True)]) < 0.6

    def test_the_bit_is_written_down(self) -> None:
        """Live and a later reader must agree for years: the first bit of the SHA-256, 0 for the champion."""
        found = [arm_of("limit orders", "ES", "2026-03-02", each) == CHALLENGER for each in range(8)]
        assert found == [False, False, True, False, True, True, False, False]
        assert arm_of("limit orders", "ES", "2026-03-02", 0) == CHAMPION
