"""Champion against challenger: rates of wrong verdicts on fixed seeds, power, what a verdict may not be."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lockstep.errors import ConfigError, DataError
from lockstep.monitoring.champion import ChallengerVerdict, PairedScore, compare, paired, score

MARGIN = 0.005
RUNS = 200


def world(seed: int, *, signals: int, champion: float, challenger: float) -> list[PairedScore]:
    """Return scores of two models that know the true chance up to noise of these deviations."""
    draw = np.random.default_rng(seed)
    chance = draw.uniform(0.4, 0.75, signals)
    won = draw.random(signals) < chance
    said = [np.clip(chance + draw.normal(0, noise, signals), 0, 1) for noise in (champion, challenger)]
    return [
        paired(day, float(a), float(b), won=bool(w))
        for day, (a, b, w) in enumerate(zip(*said, won, strict=True), start=1)
    ]


def rate(verdict: ChallengerVerdict, **models: float) -> float:
    found = [compare(world(seed, signals=250, **models), margin=MARGIN).verdict for seed in range(RUNS)]  # type: ignore[arg-type]
    return float(np.mean([each is verdict for each in found]))


def bound(stated: float) -> float:
    """Return the share that a procedure of the stated rate exceeds in one of 1,000 such runs."""
    return float(stats.binom.ppf(0.999, RUNS, stated)) / RUNS


def test_two_equal_models_are_seldom_called_better_or_worse() -> None:
    assert rate(ChallengerVerdict.BETTER, champion=0.1, challenger=0.1) <= bound(0.05)
    assert rate(ChallengerVerdict.WORSE, champion=0.1, challenger=0.1) <= bound(0.025)


def test_a_worse_one_is_seldom_called_not_worse() -> None:
    """At .17 of noise against .1 the mean score is .0175 lower, far below the margin."""
    assert rate(ChallengerVerdict.NOT_WORSE, champion=0.1, challenger=0.17) <= bound(0.025)
    assert rate(ChallengerVerdict.BETTER, champion=0.1, challenger=0.17) == 0.0


def test_a_much_better_one_is_found() -> None:
    assert rate(ChallengerVerdict.BETTER, champion=0.3, challenger=0.05) > 0.9
    assert rate(ChallengerVerdict.WORSE, champion=0.05, challenger=0.3) > 0.7


def test_looking_every_day_is_what_was_promised() -> None:
    """Negative control: a t-test after each fifth signal is false several times as often."""
    peeked = tested = 0
    for seed in range(RUNS):
        scores = world(seed, signals=120, champion=0.15, challenger=0.15)
        difference = np.array([each.difference for each in scores])
        looks = range(20, difference.size + 1, 5)
        tested += any(
            stats.ttest_1samp(difference[:n], 0.0, alternative="greater").pvalue < 0.05 for n in looks
        )
        peeked += any(
            compare(scores[:n], margin=MARGIN).verdict is ChallengerVerdict.BETTER for n in (40, 80, 120)
        )
    assert tested / RUNS > 0.15
    assert peeked / RUNS <= bound(0.05)


def test_what_was_reached_stays_reached() -> None:
    scores = world(3, signals=250, champion=0.3, challenger=0.05)
    first = next(
        n for n in range(1, 251) if compare(scores[:n], margin=MARGIN).verdict is ChallengerVerdict.BETTER
    )
    worse = [
        replace(each, time=1_000 + each.time) for each in world(4, signals=200, champion=0.05, challenger=0.3)
    ]
    assert compare([*scores[:first], *worse], margin=MARGIN).verdict is ChallengerVerdict.BETTER


def test_the_same_model_is_not_worse_before_long() -> None:
    same = [paired(day, 0.6, 0.6, won=day % 2 == 0) for day in range(1, 60)]
    found = compare(same, margin=MARGIN)
    assert found.verdict is ChallengerVerdict.NOT_WORSE
    assert found.mean == 0.0
    assert found.e_value == 1.0


def test_order_changes_nothing() -> None:
    scores = world(5, signals=80, champion=0.2, challenger=0.1)
    turned = random.Random(1).sample(scores, len(scores))
    assert compare(turned, margin=MARGIN) == compare(scores, margin=MARGIN)


def test_nothing_is_undecided() -> None:
    found = compare([], margin=MARGIN)
    assert found.verdict is ChallengerVerdict.UNDECIDED
    assert "no signal has an outcome" in found.sentence


def test_a_bound_is_the_largest_difference() -> None:
    draw = np.random.default_rng(2)
    for a, b in draw.random((200, 2)).tolist():
        for won in (True, False):
            each = paired(1, a, b, won=won)
            assert abs(each.difference) <= each.bound + 1e-15
        sizes = [abs(paired(1, a, b, won=won).difference) for won in (True, False)]
        assert max(sizes) == pytest.approx(each.bound)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match=r"must lie in \[0, 1\]"):
        score(1.2, True)
    with pytest.raises(ConfigError, match="margin 0"):
        compare([], margin=0.0)
    with pytest.raises(DataError, match=r"could differ by 0\.1 at most"):
        compare([PairedScore(time=1, champion=0.2, challenger=0.9, bound=0.1)], margin=MARGIN)
    with pytest.raises(DataError, match=r"must lie in \[0, 1\]"):
        compare([PairedScore(time=1, champion=float("nan"), challenger=0.9)], margin=MARGIN)
