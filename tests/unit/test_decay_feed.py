"""Signals of a lane as the arrays of a half-life: one question for longs and shorts, and a planted decay."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from lockstep.errors import DataError
from lockstep.monitoring.decay import NO_EDGE, NOT_ENOUGH, DecaySettings, decay, information_coefficients
from lockstep.monitoring.decay_feed import decay_arrays
from lockstep.monitoring.outcomes import SignalOutcome

DAY = 86_400_000_000_000
START = 1_577_836_800_000_000_000  # 1 January 2020


def signal(decision: int, probability: float, *, side: int = 1, **rest: Any) -> SignalOutcome:
    return SignalOutcome(**{
        "lane": "COMP", "decision": decision, "bundle": "b", "side": side, "probability": probability,
        "state": "open", **rest,
    })  # fmt: skip


def lane(count: int, *, half_life: float, edge: float, seed: int, mixed: bool = True) -> Any:
    """Return signals, ends and closes of a lane whose forecast fades; edge 0: of one that never had any."""
    rng = np.random.default_rng(seed)
    forecast = rng.normal(size=count)
    weights = edge * 2.0 ** (-np.arange(60) / half_life)
    drift = np.convolve(forecast, weights)[: count - 1]
    returns = np.concatenate(([0.0], 0.01 * (drift + rng.normal(size=count - 1))))
    closes = 1_000.0 * np.cumprod(1.0 + returns)
    ends = START + DAY * np.arange(count)
    made = []
    for each in range(count):
        side = -1 if mixed and forecast[each] < 0 else 1
        probability = 0.5 + 0.1 * side * float(np.clip(forecast[each], -4, 4))
        made.append(signal(int(ends[each]) - 3_600_000_000_000 * (each > 0), probability, side=side))
    return made, ends, closes


@pytest.mark.parametrize("mixed", [True, False])
def test_a_planted_decay_comes_out_and_none_without_one(mixed: bool) -> None:
    settings = DecaySettings(window=2_000)
    verdict = decay(*decay_arrays(*lane(2_000, half_life=3.0, edge=0.6, seed=1, mixed=mixed)), settings)
    assert verdict.verdict == "alert"
    assert verdict.low <= 3.0 <= verdict.high < 8.0
    none = decay(*decay_arrays(*lane(2_000, half_life=3.0, edge=0.0, seed=1, mixed=mixed)), settings)
    assert none.verdict == NO_EDGE


def test_longs_and_shorts_answer_one_question() -> None:
    """Mixed sides give the coefficient of the forecast itself; without their sign they would not."""
    made, ends, closes = lane(1_500, half_life=5.0, edge=0.5, seed=2)
    x, y = decay_arrays(made, ends, closes)
    found = information_coefficients(x, y, 1)[0]
    plain = lane(1_500, half_life=5.0, edge=0.5, seed=2, mixed=False)
    alike = information_coefficients(*decay_arrays(*plain), 1)[0]
    assert found == pytest.approx(alike)
    assert found > 0.3
    unsigned = np.array([each.probability for each in made])
    assert abs(information_coefficients(unsigned, y, 1)[0]) < 0.1


def test_neutral_changes_nothing_for_one_side() -> None:
    made, ends, closes = lane(400, half_life=5.0, edge=0.5, seed=3, mixed=False)
    one, other = (
        information_coefficients(*decay_arrays(made, ends, closes, neutral=each), 5) for each in (0.5, 0.62)
    )
    np.testing.assert_allclose(one, other)


def test_the_last_signal_of_a_session_counts_in_any_order_of_outcomes() -> None:
    ends = [START, START + DAY, START + 2 * DAY]
    given = [
        signal(START - 5, 0.9),
        signal(START + 10, 0.6, state="refused"),
        signal(START + DAY, 0.7, state="vetoed"),
        signal(START + 2 * DAY + 1, 0.9),
    ]
    for order in (given, random.Random(1).sample(given, 4)):
        x, y = decay_arrays(order, ends, [10.0, 11.0, np.nan])
        np.testing.assert_allclose(x, [np.nan, 0.2, np.nan])
        np.testing.assert_allclose(y, [np.nan, 0.1, np.nan])


def test_a_lane_without_a_model_says_nothing() -> None:
    x, y = decay_arrays([signal(START, float("nan"))], [START], [10.0])
    assert np.isnan(x).all()
    assert decay(x, y).verdict == NOT_ENOUGH


def test_bad_input_is_refused() -> None:
    for message, given, ends, closes in (
        ("one lane and one bundle", [signal(1, 0.5), signal(2, 0.5, bundle="c")], [1, 2], [1.0, 1.0]),
        ("rising in time", [], [2, 1], [1.0, 1.0]),
        ("rising in time", [], [1, 2], [1.0]),
        ("not positive and finite", [], [1, 2], [1.0, 0.0]),
        ("must lie in", [signal(1, 1.5)], [1], [1.0]),
    ):
        with pytest.raises(DataError, match=message):
            decay_arrays(given, ends, closes)
    with pytest.raises(DataError, match="neutral probability"):
        decay_arrays([], [], [], neutral=2.0)
