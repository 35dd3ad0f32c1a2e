"""Smaller units: never more than the stage allows, and to the broker and back nothing changes, to the bit."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.live.brokers.protocol import Holding
from lockstep.live.messages import OrderIntent, Refusal
from lockstep.live.operator.commands import FillCommand
from lockstep.live.operator.open_orders import Standing
from lockstep.live.reconciliation import UnitHoldings
from lockstep.live.risk.rollout import scaled
from lockstep.live.units import SmallerUnit, inside
from lockstep.strategy.lane import LaneState, WaitingOrder
from lockstep.strategy.matching import POSITION, execute
from support.orders import intent

UNITS = st.builds(
    SmallerUnit,
    st.just("MES"),
    st.just("ES"),
    st.integers(2, 1_000),
    st.sampled_from([1.0, 0.1, 0.25, 0.01, 0.0001]),
)
SIZES = st.integers(1, 2_000).map(float)
SIDES = st.sampled_from([1.0, -1.0])
THOUSANDTHS = st.integers(1, 1_000)


def exact(number: float) -> Fraction:
    """Return the decimal that a float of at most seven places was meant to be."""
    return Fraction(round(number * 10**7), 10**7)


@settings(deadline=None)
@given(UNITS, SIZES, SIDES, THOUSANDTHS)
def test_what_leaves_is_the_most_that_the_stage_allows(
    unit: SmallerUnit, size: float, side: float, thousandths: int
) -> None:
    asked = intent(quantity=side * size, unit=unit)
    allowed = Fraction(thousandths, 1_000) * Fraction(size) * unit.per_contract
    order = scaled(asked, thousandths / 1_000, 1.0)
    if isinstance(order, Refusal):
        assert allowed < exact(unit.step)
        return
    sent = exact(abs(order.leaving.quantity))
    assert sent <= allowed < sent + exact(unit.step), "not above the share, and less than a step below it"
    assert sent % exact(unit.step) == 0
    assert math.copysign(1.0, order.leaving.quantity) == side
    assert (order.leaving.symbol, order.symbol) == ("MES", "ES")
    assert order.leaving.terms == (order.leaving.quantity, *asked.terms[1:])


@settings(deadline=None)
@given(UNITS, st.integers(1, 10**6), SIDES)
def test_to_the_broker_and_back_is_the_identity(unit: SmallerUnit, steps: int, side: float) -> None:
    told = side * float(Fraction(str(unit.step)) * steps)
    held = unit.contracts(told)
    assert unit.count(held) == told
    assert inside({"MES": unit}, "MES", told) == ("ES", held, "MES")
    assert inside({"MES": unit}, "MES", -told).quantity == -held
    assert json.loads(json.dumps(held)) == held, "a journal keeps it"


@settings(deadline=None)
@given(UNITS, SIZES, SIDES, THOUSANDTHS, st.floats(0.0, 1.0))
def test_a_position_that_was_entered_in_part_and_left_is_flat(
    unit: SmallerUnit, size: float, side: float, thousandths: int, part: float
) -> None:
    """Fills as a broker tells them, decimal by decimal: 3 x 0.1 - 0.3 would leave a rest."""
    order = scaled(intent(quantity=side * size, unit=unit), thousandths / 1_000, 1.0)
    if not isinstance(order, OrderIntent):
        return
    whole = round(abs(order.leaving.quantity) / unit.step)
    filled = side * float(Fraction(str(unit.step)) * max(1, round(whole * part)))
    entered = standing(order).after(told(order.order_id, filled, unit))
    assert entered.position == unit.contracts(filled)
    costs = (50.0, 0.25, 0.0, 0.0, 0.0, 0.0)
    account = (0.0, math.nan, math.nan, math.nan, 0.0)
    held = execute(account, (entered.position, *[math.nan] * 4), 5_000.0, costs)
    leaving = unit.count(-held[POSITION])
    assert leaving == -filled, "what leaves closes all of it"
    stopped = told(order.order_id, -filled, unit, order="stop")
    assert stopped.quantity == -held[POSITION]
    assert entered.after(stopped).position == 0.0
    both = {"ES": Holding(0.0, 5, "file"), "MES": Holding(filled, 7, "file")}
    holding = UnitHoldings(Told(both), {"MES": unit}).read(9)["ES"]
    assert (holding.quantity, holding.as_of) == (held[POSITION], 5)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("contracts", lambda unit, count: count * (1 / unit.per_contract)),
        ("count", lambda unit, contracts: contracts * unit.per_contract),
    ],
)
def test_the_arithmetic_that_one_would_write_first_is_caught(
    name: str, first: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controls: sizes as multiples of the step 0.1, and counts that are not put on the grid."""

    def differ() -> int:
        return sum(
            unit.count(unit.contracts(float(steps))) != steps or unit.contracts(float(steps)) != steps / per
            for per in range(2, 100)
            for unit in [SmallerUnit("MES", "ES", per, 1.0)]
            for steps in range(1, 100)
        )

    assert differ() == 0
    monkeypatch.setattr(SmallerUnit, name, first)
    assert differ() > 10


class Told:
    """Holdings as a source says them."""

    trouble = ""

    def __init__(self, told: dict[str, Holding]) -> None:
        self.told = told

    def read(self, now: int) -> dict[str, Holding]:
        return self.told


def standing(order: OrderIntent) -> Standing:
    waits = WaitingOrder(
        terms=order.terms, decision=order.decision, intent="entry", reason="", probability=0.5,
        order_id=order.order_id,
    )  # fmt: skip
    flat = (0.0, math.nan, math.nan, math.nan, 1e5)
    return Standing.of("ES", LaneState(account=flat, waiting=waits))


def told(order_id: str, quantity: float, unit: SmallerUnit, **changes: Any) -> FillCommand:
    command = FillCommand(
        fill_id="f", order_id=order_id, symbol="MES", quantity=quantity, price=5_000.0, commission=0.5,
        stamp=1, **changes,
    )  # fmt: skip
    return command.inside({"MES": unit})
