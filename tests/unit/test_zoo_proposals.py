"""What the worker proposes: kinds in their course, by what helped; features by what is missed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from lockstep.market.loader import load_history
from research.zoo.improving import COURSE, ImprovementLoop, LossComparison, Past, catalogue_of
from research.zoo.learning import LearningBars
from research.zoo.model_spec import ModelSpec
from research.zoo.moves import (
    ADD,
    ARCHITECTURE,
    DROP,
    ENSEMBLE,
    LABEL,
    START,
    SWAP,
    changed,
    far_moves,
    feature_moves,
    parameter_moves,
    seconds,
)
from research.zoo.release import PairedTest
from support.zoo import learning, spec

IDS = ("ibs", "range_atr_14", "ret_5", "parkinson_20_252", "rsi_2", "vol_ratio_5_50", "atr_14", "hour")
FAR = {ENSEMBLE, LABEL, *(f"{ARCHITECTURE} {each}" for each in START)}


@pytest.fixture(scope="module")
def bars() -> LearningBars:
    return learning(load_history("COMP", start="2003-01-02", end="2009-12-31"))


@pytest.fixture(scope="module")
def loop(bars: LearningBars) -> ImprovementLoop:
    return ImprovementLoop(
        bars=bars, seed=1, estimators=tuple(START), catalogue=catalogue_of(bars, IDS, spec())
    )


def test_what_may_be_added_is_known_moves_and_is_not_in_points(loop: ImprovementLoop) -> None:
    assert "atr_14" not in loop.catalogue
    assert "hour" not in loop.catalogue
    assert max(loop.catalogue, key=loop.catalogue.__getitem__) == "parkinson_20_252"


def test_a_feature_promises_what_it_knows_of_what_is_missed(
    loop: ImprovementLoop, bars: LearningBars
) -> None:
    """By hand; and once the best feature is in the model, it promises little more."""
    base = spec()
    missed = loop.scored(base).judged - loop.scored(base).answer
    for each, promised in loop.promise(base).items():
        column = bars.matrix([each])[loop.scored(base).row, 0]
        assert promised == pytest.approx(abs(spearmanr(column, missed).statistic), abs=0.02)
    after = loop.promise(spec(features=("ibs", "parkinson_20_252", "range_atr_14", "ret_5")))
    assert after["parkinson_20_252"] < 0.6 * loop.promise(base)["parkinson_20_252"]


def drawn(loop: ImprovementLoop, past: Past, count: int = 60) -> Counter[str]:
    """Return how often each move is proposed, by seed."""
    found = Counter[str]()
    for seed in range(count):
        made = replace(loop, seed=seed).propose(1, spec(), past)
        assert made is not None
        found[made.move] += 1
    return found


def test_after_those_that_brought_nothing_come_other_kinds(loop: ImprovementLoop) -> None:
    kinds = {"feature": set(feature_moves()), "parameter": set(parameter_moves(spec())), "far": FAR}
    assert COURSE[0] == "feature"
    assert COURSE.index("far") == len(COURSE) - 1
    for vain in range(len(COURSE) + 1):
        moves = set(drawn(loop, Past(vain=vain), 12))
        assert moves <= kinds[COURSE[vain % len(COURSE)]], vain


def test_what_helped_is_made_more_often(loop: ImprovementLoop) -> None:
    parameters = parameter_moves(spec())
    even = drawn(loop, Past(vain=1))
    assert set(even) == set(parameters), "all of them"
    one, *others = parameters
    assert even[one] < 40
    learned = drawn(loop, Past(vain=1, helped={one: 8}, failed=dict.fromkeys(others, 8)))
    assert learned[one] >= 58


def test_a_feature_is_rather_added_than_dropped_until_that_helps(loop: ImprovementLoop) -> None:
    before, after = drawn(loop, Past()), drawn(loop, Past(helped={DROP: 30}, failed={ADD: 30}))
    assert before[ADD] > 40
    assert after[DROP] > 40


def test_the_most_promising_feature_is_added_most_often(loop: ImprovementLoop) -> None:
    first = Counter(
        next(changed(spec(), ADD, np.random.default_rng(seed), loop.promise(spec()))).change
        for seed in range(20)
    )
    assert first["with parkinson_20_252"] >= 18
    flat = dict.fromkeys(loop.catalogue, 0.3)
    others = Counter(next(changed(spec(), ADD, np.random.default_rng(n), flat)).change for n in range(20))
    assert others["with parkinson_20_252"] < 15, "the control"


def test_proposals_are_of_the_seed_and_new(loop: ImprovementLoop) -> None:
    kinds = set()

    def walk(seed: int) -> list[str]:
        one, past, made = replace(loop, seed=seed), Past(tried=frozenset({spec().digest})), []
        for number in range(1, 18):
            proposal = one.propose(number, spec(), past)
            assert proposal is not None
            assert proposal.spec.digest not in past.tried
            past = past.after(proposal.spec, proposal.move, False)
            made.append(proposal.spec.digest)
            kinds.add(proposal.kind)
        return made

    assert walk(1) == walk(1) != walk(2)
    assert kinds >= {"features", "parameters", "architecture"}


def test_nothing_is_proposed_that_takes_too_long(loop: ImprovementLoop) -> None:
    base = spec(parameters={"n_estimators": 60, "min_samples_leaf": 20})
    asked = 1.5 * seconds(base, loop.bars.size)
    tight, past, slow = replace(loop, most_seconds=asked), Past(), 0
    for number in range(1, 13):
        found = tight.propose(number, base, past)
        assert found is not None
        assert seconds(found.spec, loop.bars.size) <= asked
        free = loop.propose(number, base, past)
        assert free is not None
        slow += seconds(free.spec, loop.bars.size) > asked
        past = past.after(found.spec, found.move, False)
    assert slow >= 2, "the control"
    assert replace(loop, most_seconds=1e-6).propose(1, base, Past()) is None


def test_nothing_is_left_to_propose(bars: LearningBars) -> None:
    loop = ImprovementLoop(bars=bars, seed=1, estimators=("logistic",), catalogue={"ibs": 0.1})
    base = ModelSpec(task="volatility", features=("ibs",), estimator="logistic")
    past = Past(tried=frozenset({base.digest}))
    for number in range(1, 10):
        found = loop.propose(number, base, past)
        if found is None:
            assert number == 4, "C up, C down, another label"
            return
        past = past.after(found.spec, found.move, False)
    pytest.fail("a logistic regression of one feature has few neighbours")


def test_a_single_feature_is_neither_dropped_nor_swapped() -> None:
    one = ModelSpec(task="return", features=("ibs",), estimator="logistic")
    for move in (SWAP, DROP):
        assert list(changed(one, move, np.random.default_rng(1), {"ret_5": 0.5})) == []


def test_every_move_changes_one_thing() -> None:
    for name in START:
        base = ModelSpec(task="volatility", features=("ibs", "ret_5"), estimator=name, parameters=START[name])
        for move in (*feature_moves(), *parameter_moves(base), *far_moves(base, tuple(START))):
            for found in changed(base, move, np.random.default_rng(1), {"rsi_2": 0.4}):
                assert found.spec.digest != base.digest
                same = {
                    key for key, value in base.model_dump().items() if found.spec.model_dump()[key] == value
                }
                assert len(same) >= (3 if found.kind in ("architecture", "ensemble") else 6), found.change


class TestComparison:
    def test_the_smaller_promise_counts(self) -> None:
        """1,000 bars of which the newer half shows half as much: a tail of 250 should show what that does."""
        random = np.random.default_rng(3)
        gain = np.repeat([0.4, 0.2], 500) + random.normal(size=1_000)
        found = LossComparison.of(np.zeros(1_000), gain, 1)
        newer = PairedTest.of(np.zeros(500), gain[500:], 1)
        assert found.better
        assert found.expected(250) == pytest.approx(newer.z * 0.5**0.5)

    def test_what_was_better_long_ago_only_is_not_better(self) -> None:
        gain = np.repeat([0.5, -0.1], 500) + np.random.default_rng(1).normal(size=1_000)
        found = LossComparison.of(np.zeros(1_000), gain, 1)
        assert found.whole.difference > 0
        assert not found.better
        assert found.expected(250) < 0

    def test_too_few_bars_promise_nothing(self) -> None:
        gain = np.random.default_rng(1).normal(size=150)
        assert np.isnan(LossComparison.of(np.zeros(150), gain, 1).expected(100))
