"""Windows of signals: what they score, when they close, and that the order of outcomes changes nothing."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import ConfigError, DataError
from lockstep.monitoring.calibration import probability_scores
from lockstep.monitoring.curves import CurveWindow, settled_reliability, windows
from lockstep.monitoring.outcomes import STATES, SignalOutcome

DAY = 86_400_000_000_000
START = 1_577_836_800_000_000_000  # 1 January 2020


def signal(day: int, state: str = "taken", *, pnl: float = 1.0, probability: float = 0.6) -> SignalOutcome:
    known = state in ("taken", "vetoed", "censored")
    return SignalOutcome(
        lane="COMP", decision=START + day * DAY, bundle="b", side=1, probability=probability,
        state=state, pnl=pnl if known else math.nan,
    )  # fmt: skip


def closed(found: tuple[CurveWindow, ...]) -> list[str]:
    return [each.name for each in found if each.is_closed]


def drawn(count: int, seed: int = 1) -> list[SignalOutcome]:
    rng = np.random.default_rng(seed)
    chance = rng.uniform(0.3, 0.8, count)
    pnl = np.where(rng.random(count) < chance, 100.0, -80.0)
    state = rng.choice(["taken", "vetoed"], count)
    return [
        signal(3 * each, str(state[each]), pnl=float(pnl[each]), probability=float(chance[each]))
        for each in range(count)
    ]


def test_scores_are_those_of_the_signals_of_a_window() -> None:
    given_signals = drawn(130)
    found = windows(given_signals, reference_hit_rate=0.6)
    quarters = [each for each in found if each.kind == "quarter"]
    rolling = [each for each in found if each.kind == "rolling"]
    assert [each.name for each in quarters] == ["2020 Q1", "2020 Q2", "2020 Q3", "2020 Q4", "2021 Q1"]
    assert closed(found) == [
        "2020 Q1",
        "2020 Q2",
        "2020 Q3",
        "2020 Q4",
        "signals 1 to 100",
        "signals 21 to 120",
    ]
    second, part = rolling[1], given_signals[20:120]
    judged = probability_scores([each.probability for each in part], [int(each.won) for each in part])
    assert (second.brier, second.log_loss, second.auc) == (judged.brier, judged.log_loss, judged.auc)
    assert (second.hit_rate, second.reference_hit_rate) == (judged.hit_rate, 0.6)
    taken = [each.pnl for each in part if each.state == "taken"]
    assert (second.trades, second.mean_pnl) == (len(taken), pytest.approx(np.mean(taken)))
    assert second.scored == second.predicted == second.signals == second.settled == 100
    assert sum(each.signals for each in quarters) == 130


def test_a_signal_that_settles_closes_its_window() -> None:
    calm = [signal(day) for day in range(0, 60, 10)]
    before = windows([*calm, signal(45, "open"), signal(100)])
    assert closed(before) == []
    assert (before[0].settled, before[0].signals, before[0].scored) == (6, 7, 0)
    assert math.isnan(before[0].hit_rate)
    after = windows([*calm, signal(45, pnl=-1.0), signal(100)])
    assert closed(after) == ["2020 Q1"]
    assert after[0].hit_rate == pytest.approx(6 / 7)


def test_a_quarter_that_goes_on_is_open_whatever_has_settled() -> None:
    calm = [signal(day) for day in (1, 2)]
    assert closed(windows(calm)) == []
    assert closed(windows(calm, known=START + 90 * DAY)) == [], "30 March"
    assert closed(windows(calm, known=START + 91 * DAY)) == ["2020 Q1"]


@given(
    st.lists(
        st.tuples(st.sampled_from(STATES), st.sampled_from([0.0, 0.4, 1.0, math.nan]), st.integers(-2, 2)),
        max_size=40,
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=50, deadline=None)
def test_order_and_looks_change_nothing_and_what_is_closed_stays(
    rows: list[tuple[str, float, int]], order: random.Random
) -> None:
    given_signals = [
        signal(17 * each, state, pnl=float(pnl), probability=chance)
        for each, (state, chance, pnl) in enumerate(rows)
    ]
    shuffled = order.sample(given_signals, len(given_signals))
    found = windows(given_signals, signals=10, step=5)
    assert (
        repr(windows(shuffled, signals=10, step=5))
        == repr(found)
        == repr(windows(iter(given_signals), signals=10, step=5))
    )
    earlier = windows(given_signals[: len(rows) // 2], signals=10, step=5)
    final = {repr(each) for each in found}
    assert all(repr(each) in final for each in earlier if each.is_closed)
    for each in found:
        assert each.is_closed or (each.scored == 0 and math.isnan(each.hit_rate))


def test_one_class_no_probability_and_no_trade_are_scored_as_far_as_they_go() -> None:
    one_class, without, refused = (
        windows(part, known=START + 100 * DAY)[0]
        for part in (
            [signal(1), signal(2)],
            [signal(1, probability=math.nan), signal(2, "vetoed", pnl=-1.0, probability=math.nan)],
            [signal(1, "refused"), signal(2, "censored")],
        )
    )
    assert math.isnan(one_class.auc)
    assert one_class.brier == pytest.approx(0.16)
    assert (without.hit_rate, without.predicted, without.trades) == (0.5, 0, 1)
    assert math.isnan(without.brier)
    assert (refused.is_closed, refused.scored, refused.settled) == (True, 0, 2)
    assert math.isnan(refused.mean_pnl)


def test_the_reliability_curve_is_that_of_closed_quarters() -> None:
    given_signals = drawn(400)
    whole = settled_reliability(given_signals, seed=3)
    assert whole.count.sum() == sum(w.scored for w in windows(given_signals) if w.kind == "quarter")
    assert np.abs(whole.observed - whole.predicted).max() < 0.2
    held = replace(given_signals[0], state="open", pnl=math.nan)
    first_quarter = windows(given_signals)[0].signals
    fewer = settled_reliability([held, *given_signals[1:]], seed=3)
    assert fewer.count.sum() == whole.count.sum() - first_quarter
    assert settled_reliability([], seed=3).count.size == 0
    assert math.isnan(settled_reliability([], seed=3).brier)


def test_the_reliability_curve_has_the_score_of_its_signals() -> None:
    few = [signal(at, probability=0.5 + at / 100, pnl=1.0 if at % 3 else -1.0) for at in range(1, 21)]
    found = settled_reliability([*few, signal(200)], seed=3)
    assert found.count.size == 0, "too few for a bin"
    missed = [(each.probability - each.won) ** 2 for each in few]
    assert found.brier == pytest.approx(math.fsum(missed) / 20)


def test_nothing_has_no_window() -> None:
    assert windows([]) == ()


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="occurs twice"):
        windows([signal(1), signal(1, "open")])
    with pytest.raises(DataError, match="up to which signals are known"):
        windows([signal(2)], known=START)
    with pytest.raises(DataError, match="make the outcomes again"):
        windows([signal(1, pnl=math.nan), signal(200)])
    with pytest.raises(DataError, match="must lie in"):
        windows([signal(1, probability=1.5), signal(200)])
    with pytest.raises(ConfigError, match="at least 1"):
        windows([signal(1)], step=0)
