"""The release rule: levels, the HAC error, a tail that the loop never scores, and noise."""

from __future__ import annotations

import gc
import math
import weakref
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from lockstep.errors import TrainingError
from lockstep.market.bars import Bars
from lockstep.market.history import History
from lockstep.market.loader import load_history
from research.statistics.regimes import REGIMES
from research.zoo.factor_score import regimes_of
from research.zoo.fitting import ended_before
from research.zoo.improving import ImprovementLoop, Past, catalogue_of
from research.zoo.learning import LearningBars
from research.zoo.release import (
    PairedTest,
    TailTest,
    level,
    on_tail,
    standard_error,
    tail_begin,
    worth_an_attempt,
)
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
                champion=first, constant=second, loss=1.0, champion_loss=1.1, linear=1.0, factor="",
                factor_loss=1.0, by_regime={},
            )  # fmt: skip

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
        """It is what bars that are cut there hold."""
        begin = tail_begin(bars)
        before = bars.until(begin).samples(spec(horizon=5))
        assert before.row.max() + 5 < begin
        whole = bars.samples(spec(horizon=5))
        learned = ended_before(whole, 5, begin)
        assert whole.row[learned].tolist() == before.row.tolist()
        assert whole.features[learned].tobytes() == before.features.tobytes()
        assert whole.taught[learned].tobytes() == before.taught.tobytes()

    def test_a_better_model_wins_and_a_worse_one_does_not(self, bars: LearningBars) -> None:
        better = spec(features=("parkinson_20_252", "ibs", "range_atr_14", "ret_5"))
        found = on_tail(bars, better, spec())
        assert found.wins(level(1))
        assert found.loss < found.champion_loss
        assert not on_tail(bars, spec(), better).wins(0.5)
        assert on_tail(bars, spec(), spec()).p_value != on_tail(bars, spec(), spec()).p_value, "equal: NaN"

    def test_the_report_by_regime_adds_up(self, bars: LearningBars) -> None:
        better = spec(features=("parkinson_20_252", "ibs"))
        found, codes = on_tail(bars, better, spec()), regimes_of(bars)[tail_begin(bars) : bars.size - 1]
        shares = {name: (codes == code).mean() for code, name in REGIMES.items()}
        assert sum(shares.values()) == pytest.approx(1.0)
        assert len({name for name, share in shares.items() if share > 0}) >= 3
        total = sum(share * found.by_regime[name] for name, share in shares.items() if share > 0)
        assert total == pytest.approx(found.champion.difference)
        assert all(math.isnan(found.by_regime[name]) for name, share in shares.items() if share == 0)

    def test_an_attempt_is_made_where_the_tail_should_show_it(self) -> None:
        """At power .5 it has to promise the level's quantile, at .8 a further .84; after a failure more."""
        asked = NormalDist().inv_cdf(1.0 - 0.05 * 6.0 / math.pi**2)
        assert worth_an_attempt(asked + 0.001, 1, 0.5)
        assert not worth_an_attempt(asked - 0.001, 1, 0.5)
        assert worth_an_attempt(asked + 0.8417, 1, 0.8)
        assert not worth_an_attempt(asked + 0.8415, 1, 0.8)
        assert not worth_an_attempt(asked + 0.8417, 2, 0.8), "the next one asks for more"
        assert not worth_an_attempt(5.0, 1, 0.8, least=5.1)
        assert worth_an_attempt(-3.0, 9, 0.0, least=5.1), "whatever is better"
        assert not worth_an_attempt(math.nan, 1, 0.0)
        assert not worth_an_attempt(math.nan, 1, 0.8)


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
    past, found = Past(tried=frozenset({base.digest})), []
    for number in range(1, 4):
        proposal = loop.propose(number, base, past)
        assert proposal is not None
        past = past.after(proposal.spec, proposal.move, False)
        found.append((proposal, loop.scored(proposal.spec).loss.tolist(), loop.compared(proposal.spec, base)))
    return found


def test_the_loop_does_not_score_the_tail(bars: LearningBars) -> None:
    """It finds the same where the tail is another one; one bar of it more, and it would not."""
    other, begin = garbled(bars), tail_begin(bars)
    assert trail(bars.until(begin)) == trail(other.until(begin))
    assert trail(bars.until(begin + 1)) != trail(other.until(begin + 1))


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
