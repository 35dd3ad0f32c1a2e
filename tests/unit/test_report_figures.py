"""The plan's figures: by hand, with a model that knows something and with one that knows nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from lockstep.monitoring.outcomes import SignalKey, SignalOutcome
from operations.reports.figures import (
    LEAST_ALARMS,
    LEAST_SIGNALS,
    JudgedSignal,
    SizedTrade,
    judged_signals,
    over_plain,
    over_score,
    over_unfiltered,
    plan_figure,
    plan_figures,
    strengths,
)
from operations.watch.counterfactual import NOT_FOLLOWED, FollowedSignal
from operations.watch.streams import AlarmRaised


def signal(at: int, *, taken: bool, pnl: float, score: float = 0.0, lane: str = "ES") -> JudgedSignal:
    return JudgedSignal(lane=lane, bundle="b", decision=at, taken=taken, pnl=pnl, score=score)


def outcome(at: int, state: str, exit: int, probability: float = 0.5, lane: str = "ES") -> SignalOutcome:
    return SignalOutcome(
        lane=lane, decision=at, bundle="b", side=1, probability=probability, state=state, exit=exit
    )  # fmt: skip


def trip(exit: int, pnl: float) -> FollowedSignal:
    return replace(NOT_FOLLOWED, exit=exit, pnl=pnl, quantity=1.0)


def test_a_veto_is_worth_what_it_avoided() -> None:
    found = [
        signal(1, taken=True, pnl=5.0),
        signal(2, taken=False, pnl=-3.0),
        signal(3, taken=False, pnl=4.0),
    ]
    assert over_unfiltered(found).tolist() == [0.0, 3.0, -4.0]


def test_the_score_keeps_as_many_of_the_strongest_in_each_lane() -> None:
    found = [
        signal(1, taken=True, pnl=1.0, score=0.1),
        signal(2, taken=False, pnl=10.0, score=0.9),
        signal(3, taken=False, pnl=100.0, score=0.5),
        signal(4, taken=True, pnl=1_000.0, score=0.0, lane="NQ"),
        signal(5, taken=False, pnl=7.0, score=math.nan),
    ]
    # ES: the model took the first, the score the second. NQ: both took the only one.
    assert over_score(found).tolist() == [1.0, -10.0, 0.0, 0.0]


def test_equal_scores_keep_the_order_of_decisions() -> None:
    found = [signal(1, taken=False, pnl=2.0), signal(2, taken=True, pnl=3.0)]
    assert over_score(found).tolist() == [-2.0, 3.0]


def test_a_model_that_says_what_the_score_says_gains_nothing_over_it() -> None:
    random = np.random.default_rng(1)
    scores, results = random.permutation(80), random.normal(size=80)
    found = [
        signal(at, taken=bool(score >= 40), pnl=float(result), score=float(score))
        for at, (score, result) in enumerate(zip(scores, results, strict=True))
    ]
    assert over_score(found).tolist() == [0.0] * 80
    assert np.abs(over_unfiltered(found)).sum() > 0


def test_strength_lies_on_the_side_of_the_signals() -> None:
    stamps, feature = [1, 2, 3, 4], np.array([0.1, 0.9, 0.2, 0.8])
    weak = strengths({"ES": (stamps, feature)}, {"ES": [1, 3]})
    strong = strengths({"ES": (stamps, feature)}, {"ES": [2, 4, 9]})
    assert weak == {("ES", 1): -0.1, ("ES", 3): -0.2}
    assert strong == {("ES", 2): 0.9, ("ES", 4): 0.8}
    assert strengths({"ES": (stamps, np.full(4, math.nan))}, {"ES": [1]}) == {}


def test_signals_that_overlap_are_judged_once() -> None:
    """The second begins before the first has ended; the last ended after the month; one was never asked."""
    outcomes = [
        outcome(1, "taken", 5), outcome(3, "vetoed", 6), outcome(5, "vetoed", 8), outcome(9, "taken", 20),
        outcome(30, "refused", 0), outcome(40, "vetoed", 41, math.nan),
    ]  # fmt: skip
    settled = {
        SignalKey("ES", at, "b"): trip(exit, float(at))
        for at, exit in ((1, 5), (3, 6), (5, 8), (9, 20), (40, 41))
    }
    found = judged_signals(outcomes, settled, {("ES", 1): 0.25}, 10)
    assert [(each.decision, each.taken, each.pnl) for each in found] == [(1, True, 1.0), (5, False, 5.0)]
    assert found[0].score == 0.25
    assert math.isnan(found[1].score)


def test_sizes_are_compared_at_the_same_notional() -> None:
    """Own sizes 1 and 1; the portfolio took 3 and 1: plain takes 2 of each."""
    trades = [
        SizedTrade(pnl=30.0, quantity=3.0, base=1.0, notional=100.0),
        SizedTrade(pnl=-10.0, quantity=1.0, base=1.0, notional=100.0),
    ]
    assert over_plain(trades).tolist() == pytest.approx([30.0 - 20.0, -10.0 + 20.0])
    assert over_plain([]).size == 0


def test_too_few_have_no_value() -> None:
    few = plan_figure("gain", "usd", np.ones(LEAST_SIGNALS - 1), LEAST_SIGNALS, "")
    assert (few.observations, math.isnan(few.value), math.isnan(few.low)) == (LEAST_SIGNALS - 1, True, True)
    enough = plan_figure("gain", "usd", np.arange(LEAST_SIGNALS), LEAST_SIGNALS, "")
    assert enough.value == pytest.approx((LEAST_SIGNALS - 1) / 2)
    assert enough.low < enough.value < enough.high


def test_the_interval_is_the_same_again_and_tells_skill_from_none() -> None:
    """A model that vetoes losers alone is seen to gain; without skill, zero is rarely left out."""
    random = np.random.default_rng(3)
    skilled = [
        signal(at, taken=bool(result > -0.5), pnl=float(result))
        for at, result in enumerate(random.normal(size=200))
    ]
    first, again = (plan_figure("gain", "usd", over_unfiltered(skilled), 30, "") for _ in range(2))
    assert first == again
    assert first.low > 0
    outside = 0
    for world in range(40):
        draw = np.random.default_rng(100 + world)
        blind = [
            signal(at, taken=bool(coin), pnl=float(result))
            for at, (coin, result) in enumerate(
                zip(draw.integers(0, 2, 150), draw.normal(size=150), strict=True)
            )
        ]
        found = plan_figure("gain", "usd", over_unfiltered(blind), 30, "")
        outside += not found.low <= 0.0 <= found.high
    # At 95 % two of 40 are expected; 8 are exceeded in one of a thousand repetitions at a rate of 7 %.
    assert outside <= 8


def test_only_alarms_count_as_decay_found() -> None:
    def alarm(level: str, outcomes: int) -> AlarmRaised:
        return AlarmRaised(
            place="ES pnl", level=level, raised=1, bundle="b", stream="pnl", since=0, outcomes=outcomes,
            sentence="", severity="alert",
        )  # fmt: skip

    many = [alarm("ALARM", 10 + at) for at in range(LEAST_ALARMS)] + [alarm("WATCH", 1_000)]
    figures = {each.name: each for each in plan_figures(many, (), None)}
    assert figures["Decay found after"].value == pytest.approx(13.5)
    assert figures["From an alarm to a challenger in shadow"].observations == 0
    assert len(figures) == 4
    assert len(plan_figures(many, (), ())) == 5
