from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import ConfigError, LiveError
from lockstep.live.messages import OrderIntent, Refusal
from lockstep.live.risk.rollout import (
    PaperVerdict,
    Rollout,
    RolloutStage,
    RolloutStep,
    Trades,
    advance,
    require_mode,
    require_sizes,
    scaled,
    stage,
    step_back,
    watching,
)
from lockstep.settings import validated
from support.orders import DAY, intent

START = 1_700_000_000_000_000_000
ROLLOUT = Rollout()


def on_day(day: int) -> int:
    return START + (day - 1) * DAY


def request(day: int, steps: tuple[RolloutStep, ...] = (), **changes: Any) -> RolloutStep:
    arguments: dict[str, Any] = {
        "started": START,
        "comparison": PaperVerdict("abc", on_day(day), passed=True),
        "now": on_day(day),
        "reason": "as planned",
    }
    return advance(ROLLOUT, steps, **{**arguments, **changes})


def test_the_default_is_shadow_then_a_tenth_then_half_then_all() -> None:
    steps: tuple[RolloutStep, ...] = ()
    seen = [stage(ROLLOUT, steps)[1]]
    for day in (8, 15, 31):
        steps = (*steps, request(day, steps))
        seen.append(stage(ROLLOUT, steps)[1])
    assert [(each.mode, each.fraction) for each in seen] == [
        ("shadow", 1.0),
        ("live", 0.1),
        ("live", 0.5),
        ("live", 1.0),
    ]
    assert steps[0] == RolloutStep(on_day(8), 1, "abc", "as planned")
    with pytest.raises(LiveError, match="last stage"):
        request(60, steps)


def test_a_shadow_stage_does_not_go_live() -> None:
    with pytest.raises(LiveError, match="stage 1 is shadow; start with --mode shadow"):
        require_mode(ROLLOUT, (), "live")
    for mode in ("paper", "shadow"):
        require_mode(ROLLOUT, (), mode)  # type: ignore[arg-type]
    require_mode(ROLLOUT, (request(8),), "live")


def test_time_alone_moves_nothing() -> None:
    assert stage(ROLLOUT, ())[0] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"comparison": None}, "no paper comparison"),
        ({"comparison": PaperVerdict("abc", START - 1, passed=True)}, "no paper comparison"),
        ({"comparison": PaperVerdict("abc", on_day(8), passed=False)}, "abc did not pass"),
        ({"now": on_day(8) - 1}, "day 7; the next stage begins on day 8"),
        ({"promotions": (START, on_day(3))}, "promoted less than 7 days ago"),
    ],
)
def test_what_stops_an_advance(changes: dict[str, Any], message: str) -> None:
    assert request(8).stage == 1
    with pytest.raises(LiveError, match=message):
        request(8, **changes)


def test_each_stage_needs_a_comparison_of_its_own() -> None:
    first = request(8)
    with pytest.raises(LiveError, match="no paper comparison of this stage"):
        request(15, (first,), comparison=PaperVerdict("abc", first.time - 1, passed=True))


def test_stepping_back_needs_no_evidence() -> None:
    steps = (request(8),)
    back = step_back(ROLLOUT, steps, now=on_day(9), reason="fills are late")
    assert stage(ROLLOUT, (*steps, back))[0] == 0
    with pytest.raises(LiveError, match="first stage"):
        step_back(ROLLOUT, (*steps, back), now=on_day(10), reason="again")
    assert request(12, (*steps, back)).stage == 1


def test_a_stage_that_is_not_configured_is_refused() -> None:
    with pytest.raises(LiveError, match="stage 4 is recorded"):
        stage(ROLLOUT, (RolloutStep(START, 4, "", ""),))


def test_a_promotion_is_watched_for_a_week() -> None:
    assert not watching(ROLLOUT, (), START)
    assert watching(ROLLOUT, (START - 30 * DAY, START), START + 7 * DAY - 1)
    assert not watching(ROLLOUT, (START,), START + 7 * DAY)


@pytest.mark.parametrize("days", [[], [2], [1, 1], [1, 9, 8]])
def test_stages_begin_on_the_first_day_and_rise(days: list[int]) -> None:
    stages = [{"from_day": day, "mode": "live"} for day in days]
    with pytest.raises(ConfigError, match="stages begin on days"):
        validated(Rollout, {"stages": stages}, where="live.yml: rollout")


@pytest.mark.parametrize(
    ("quantity", "fraction", "step", "expected"),
    [
        (25.0, 0.1, 1.0, 2.0),
        (-25.0, 0.1, 1.0, -2.0),
        (10.0, 0.1, 1.0, 1.0),
        (3.0, 0.5, 0.01, 1.5),
        (3.0, 1.0, 1.0, 3.0),
    ],
)
def test_size_is_rounded_down_to_the_step(
    quantity: float, fraction: float, step: float, expected: float
) -> None:
    order = scaled(intent(quantity=quantity), fraction, step)
    assert isinstance(order, OrderIntent)
    assert order.quantity == order.terms[0] == expected
    assert order.terms[1:] == intent(quantity=quantity).terms[1:]


def test_nothing_left_is_a_counted_refusal() -> None:
    refusal = scaled(intent(quantity=9.0), 0.1, 1.0)
    assert refusal == Refusal(intent().order_id, "rollout", "10% of 9 contracts is less than 1")


@pytest.mark.parametrize(
    ("index", "trades", "refused"),
    [
        (0, Trades(9, 1), "stage 2 is live with 10%"),
        (2, Trades(1, 1), "stage 3 is live with 50%"),
        (3, Trades(1, 1), None),
        (0, Trades(10, 1), None),
        (0, Trades(0.001, 0.0001), None),
        (0, Trades(0.0009, 0.0001), "trade at least 0.001"),
        (3, Trades(0, 1), "stage 4 is live with 100% of the size; ES usually trades 0 contracts"),
    ],
)
def test_a_stage_that_would_send_nothing_is_refused(index: int, trades: Trades, refused: str | None) -> None:
    """From the present stage on: a share of one contract is none, and the desk would advance all the same."""
    quiet = {"NQ": Trades(100, 1)}
    if refused is None:
        require_sizes(ROLLOUT, index, {**quiet, "ES": trades})
        return
    with pytest.raises(ConfigError, match=refused) as error:
        require_sizes(ROLLOUT, index, {**quiet, "ES": trades})
    assert "the micro" in str(error.value)


@given(st.integers(1, 500), st.sampled_from([1.0, 0.1, 0.0001]), st.floats(0.01, 1.0))
def test_what_a_stage_may_send_is_what_it_sends(steps: int, step: float, fraction: float) -> None:
    plan = Rollout(stages=(RolloutStage(from_day=1, mode="live", fraction=fraction),))
    nothing = isinstance(scaled(intent(quantity=steps * step), fraction, step), Refusal)
    try:
        require_sizes(plan, 0, {"ES": Trades(steps * step, step)})
    except ConfigError:
        assert nothing
    else:
        assert not nothing


def test_exits_are_never_scaled() -> None:
    leave = intent(quantity=-9.0, opens=False)
    assert scaled(leave, 0.1, 1.0) is leave


@given(st.integers(1, 1000), st.floats(0.01, 1.0), st.sampled_from([1.0, 0.1, 0.25]))
def test_scaling_never_adds(quantity: int, fraction: float, step: float) -> None:
    order = scaled(intent(quantity=float(quantity)), fraction, step)
    if isinstance(order, OrderIntent):
        assert 0.0 < order.quantity <= quantity * fraction * (1 + 1e-6)
