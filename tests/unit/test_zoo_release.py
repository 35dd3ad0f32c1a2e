"""The release rule: levels, the HAC error, a tail that the loop never scores, and noise."""

from __future__ import annotations

import gc
import math
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lockstep.errors import TrainingError
from lockstep.market.bars import Bars
from lockstep.market.history import History
from lockstep.market.loader import load_history
from research.zoo.improving import START, ImprovementLoop, catalogue_of
from research.zoo.learning import LearningBars
from research.zoo.model_spec import ModelSpec
from research.zoo.release import PairedTest, TailTest, level, on_tail, standard_error, tail_begin, turbulent
from support.zoo import COMP, learning, spec

IDS = ("ibs", "range_atr_14", "ret_5", "parkinson_20_252", "rsi_2", "vol_ratio_5_50", "atr_14", "hour")


@pytest.fixture(scope="module")
def history() -> History:
    return load_history("COMP", start="2003-01-02", end="2009-12-31")


@pytest.fixture(scope="module")
def bars(history: History) -> LearningBars:
    return learning(history)


class TestLevels:
    def test_the_levels_of_all_attempts_sum_to_five_per_cent(self) -> None:
        assert math.fsum(level(each) for each in range(1, 200_000)) == pytest.approx(0.05, abs=1e-6)
        assert [round(level(each), 4) for each in (1, 2, 3)] == [0.0304, 0.0076, 0.0034]

    @pytest.mark.parametrize("lag", [0, 1, 5])
    def test_the_error_is_the_larger_of_two(self, lag: int) -> None:
        values = np.random.default_rng(lag).normal(size=300).cumsum() / 10
        centred, n = values - values.mean(), 300
        covariances = [float(centred[step:] @ centred[: n - step]) / n for step in range(lag + 1)]
        falling = [1.0] + [2.0 * (1 - step / (lag + 1)) for step in range(1, lag + 1)]
        flat = [1.0] + [2.0] * lag
        long_run = [sum(w * c for w, c in zip(each, covariances, strict=True)) for each in (falling, flat)]
        assert standard_error(values, lag) == pytest.approx(math.sqrt(max(long_run) / (n - 1)))

    def test_overlapping_labels_are_allowed_for(self) -> None:
        """Sums over 5 bars: without the lag one in six is significant at 5 %."""
        rates = []
        for lag in (0, 5):
            random = np.random.default_rng(7)
            drawn = random.normal(size=(1_500, 404))
            overlapping = np.apply_along_axis(lambda row: np.convolve(row, np.ones(5), "valid"), 1, drawn)
            zeros = np.zeros(400)
            found = [PairedTest.of(zeros, each, lag).p_value <= 0.05 for each in overlapping]
            rates.append(sum(found) / len(found))
        assert rates[0] > 0.15
        assert rates[1] < 0.07

    def test_too_few_bars_and_equal_losses_have_no_p_value(self) -> None:
        values = np.random.default_rng(1).normal(size=99)
        assert math.isnan(PairedTest.of(values, values + values**2, 1).p_value)
        same = PairedTest.of(np.ones(200), np.ones(200), 1)
        assert math.isnan(same.p_value)

    def test_a_challenger_has_to_win_both(self) -> None:
        def tested(champion: float, constant: float) -> TailTest:
            first, second = (
                PairedTest(n=500, difference=0.1, z=1.0, p_value=each) for each in (champion, constant)
            )
            return TailTest(
                champion=first, constant=second, loss=1.0, champion_loss=1.1, linear=1.0, by_regime={}
            )

        assert tested(0.001, 0.002).wins(0.01)
        assert not tested(0.001, 0.2).wins(0.01)
        assert not tested(0.2, 0.001).wins(0.01)
        assert not tested(math.nan, 0.001).wins(0.01)
        assert not tested(0.001, math.nan).wins(0.01)


class TestTail:
    def test_it_is_the_last_fifth_of_what_is_learned_from(self, bars: LearningBars) -> None:
        begin, learned = tail_begin(bars), bars.size - bars.first
        assert bars.size - begin == round(learned * 0.2)
        with pytest.raises(TrainingError, match="leave a tail of 50, at least 100 are needed"):
            tail_begin(replace(bars, first=bars.size - 250))

    def test_what_was_fitted_ends_before_it(self, bars: LearningBars) -> None:
        before = bars.until(tail_begin(bars)).samples(spec(horizon=5))
        assert before.row.max() + 5 < tail_begin(bars)

    def test_a_better_model_wins_and_a_worse_one_does_not(self, bars: LearningBars) -> None:
        better = spec(features=("parkinson_20_252", "ibs", "range_atr_14", "ret_5"))
        found = on_tail(bars, better, spec())
        assert found.wins(level(1))
        assert found.loss < found.champion_loss
        assert not on_tail(bars, spec(), better).wins(0.5)
        assert on_tail(bars, spec(), spec()).p_value != on_tail(bars, spec(), spec()).p_value, "equal: NaN"

    def test_the_report_by_regime_adds_up(self, bars: LearningBars) -> None:
        better = spec(features=("parkinson_20_252", "ibs"))
        found, rough = on_tail(bars, better, spec()), turbulent(bars.bars)[tail_begin(bars) : bars.size - 1]
        calm = (~rough).mean() * found.by_regime["calm"]
        assert calm + rough.mean() * found.by_regime["turbulent"] == pytest.approx(found.champion.difference)
        assert np.isfinite(found.linear)


def garbled(bars: LearningBars) -> LearningBars:
    """Return the same bars with others in the tail."""
    begin, whole = tail_begin(bars), bars.bars
    columns: dict[str, Any] = {
        name: np.concatenate([values[:begin], 3.0 * values[begin:][::-1]])
        for name, values in whole.columns().items()
    }
    history = History(bars={COMP: replace(whole, **columns)}, markets=bars.history.markets)
    return replace(bars, history=history, _columns={}, _labels={})


def trail(bars: LearningBars) -> list[Any]:
    """Return what a loop proposes and how it scores it."""
    base = spec()
    loop = ImprovementLoop(
        bars=bars, seed=5, estimators=("random_forest", "logistic"), catalogue=catalogue_of(bars, IDS, base)
    )
    tried, found = {base.digest}, []
    for number in range(1, 6):
        proposal = loop.propose(number, base, tried)
        assert proposal is not None
        tried.add(proposal.spec.digest)
        found.append((proposal, loop.scored(proposal.spec).loss.tolist(), loop.compared(proposal.spec, base)))
    return found


def reads_the_tail(cut: Any, bars: LearningBars) -> bool:
    """Whether a loop finds something else where the tail is another one."""
    return trail(cut(bars)) != trail(cut(garbled(bars)))


def test_the_loop_does_not_score_the_tail(bars: LearningBars) -> None:
    assert not reads_the_tail(lambda given: given.until(tail_begin(given)), bars)


def test_a_loop_that_scores_the_tail_is_found(bars: LearningBars) -> None:
    assert reads_the_tail(lambda given: given, bars)
    assert reads_the_tail(lambda given: given.until(tail_begin(given) + 1), bars), "one bar too many"


def latest_bar(owner: Any) -> int:
    """Return the newest stamp of all bars that can be reached from an object, arrays and their bases too."""
    seen, todo, newest = {id(owner)}, [owner], 0
    while todo:
        each = todo.pop()
        if type(each) in weakref.ProxyTypes:
            continue  # What it stands for may be gone, and is reached by whoever keeps it.
        if isinstance(each, Bars):
            base = each.end if each.end.base is None else each.end.base
            newest = max(newest, int(np.asarray(base).max()))
        if isinstance(each, type) or type(each).__name__ in (
            "module",
            "function",
            "builtin_function_or_method",
        ):
            continue
        for other in gc.get_referents(each):
            if id(other) not in seen:
                seen.add(id(other))
                todo.append(other)
    return newest


def test_no_bar_of_the_tail_can_be_reached_from_the_loop(bars: LearningBars) -> None:
    begin = tail_begin(bars)
    sealed = int(bars.bars.end[begin])
    loop = ImprovementLoop(bars=bars.until(begin), seed=1, estimators=("logistic",), catalogue={"ibs": 0.1})
    assert 0 < latest_bar(loop) < sealed
    view = replace(loop.bars, history=History(bars={COMP: bars.bars.rows(0, begin)}, markets={}))
    assert latest_bar(replace(loop, bars=view)) >= sealed, "a view holds what was cut off"


class TestProposals:
    def test_what_may_be_added_is_known_moves_and_is_not_in_points(self, bars: LearningBars) -> None:
        found = catalogue_of(bars, IDS, spec())
        assert "atr_14" not in found
        assert "hour" not in found
        assert max(found, key=found.__getitem__) == "parkinson_20_252"

    def test_proposals_are_of_the_seed_and_new(self, bars: LearningBars) -> None:
        def loop(seed: int) -> list[Any]:
            one = ImprovementLoop(
                bars=bars, seed=seed, estimators=tuple(START), catalogue=dict.fromkeys(IDS, 0.2)
            )
            base, tried, made = spec(), {spec().digest}, []
            for number in range(1, 20):
                proposal = one.propose(number, base, tried)
                assert proposal is not None
                assert proposal.spec.digest not in tried
                tried.add(proposal.spec.digest)
                made.append(proposal)
            return made

        first = loop(1)
        assert first == loop(1) != loop(2)
        assert {each.move for each in first} >= {"features", "parameters", "architecture", "label"}

    def test_nothing_is_left_to_propose(self, bars: LearningBars) -> None:
        loop = ImprovementLoop(bars=bars, seed=1, estimators=("logistic",), catalogue={"ibs": 0.1})
        base = ModelSpec(task="volatility", features=("ibs",), estimator="logistic")
        tried = {base.digest}
        for number in range(1, 200):
            found = loop.propose(number, base, tried)
            if found is None:
                return
            tried.add(found.spec.digest)
        pytest.fail("a logistic regression of one feature has few neighbours")
