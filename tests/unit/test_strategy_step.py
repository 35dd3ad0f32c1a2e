"""The decision step: what outranks what, when the model is asked, and which order follows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from lockstep.errors import StrategyError
from lockstep.market.config import load_instruments
from lockstep.strategy import decision as d
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.step import DecisionRules, PositionState, step
from lockstep.strategy.veto import Veto

MARKET = load_instruments().market("ES")
OPEN, SHUT = (1.0, 30.0, 0.0), (0.0, 30.0, 0.0)
LOW, MIDDLE, HIGH = 0.1, 0.5, 0.9
FLAT = PositionState(0.0, 0, False)
LONG = PositionState(2.0, 3, False)


@dataclass
class Model:
    """Answers with one chance, and keeps what it was asked."""

    chance: float
    asked: list[list[float]] = field(default_factory=list)

    def predict_proba(self, values: Any, /) -> Any:
        self.asked.append(values[0].tolist())
        return np.array([[1.0 - self.chance, self.chance]])


def rules(model: Model | None = None, **config: Any) -> DecisionRules:
    made = IbsConfig.model_validate({"name": "x", "stop": {"percent": 1.0}, **config})
    veto = None if model is None else Veto(model=model, feature_ids=("rsi_2", "ibs"), threshold=0.6)
    ids = made.feature_ids if model is None else (*made.feature_ids, "rsi_2")
    return DecisionRules.of(made, MARKET, veto, ids)


def decided(
    made: DecisionRules, signal: float, state: PositionState = FLAT, clock: Any = OPEN, **values: float
) -> tuple[int, float, Any]:
    vector = np.array([values.get(each, signal if each == "ibs" else 5.0) for each in made.ids])
    return step(made, vector, 4000.0, clock, state)


def test_an_entry_is_an_order_with_its_stop() -> None:
    code, probability, order = decided(rules(), LOW)
    assert code == d.ENTER_LONG
    assert math.isnan(probability)
    assert order[:3] == (1.0, 0.01, 0.0)
    code, _, order = decided(rules(direction="short"), HIGH)
    assert (code, order[0]) == (d.ENTER_SHORT, -1.0)


def test_an_exit_closes_the_position_without_a_stop() -> None:
    code, _, order = decided(rules(), HIGH, LONG)
    assert code == d.EXIT_SIGNAL
    assert order[0] == -2.0
    assert np.isnan(order[1:]).all()


@pytest.mark.parametrize(("signal", "state"), [(LOW, FLAT), (HIGH, LONG)])
def test_while_an_order_waits_none_is_sent(signal: float, state: PositionState) -> None:
    code, _, order = decided(rules(), signal, state._replace(waiting=True))
    assert (code, order) == (d.ORDER_WAITING, None)


def test_nothing_to_do_sends_nothing() -> None:
    assert decided(rules(), MIDDLE)[::2] == (d.NO_SIGNAL, None)
    assert decided(rules(), MIDDLE, LONG)[::2] == (d.HOLD, None)
    size = {"kind": "risk", "risk": 1e-9, "feature": "atr_14"}
    assert decided(rules(size=size), LOW)[::2] == (d.SIZE_ZERO, None)


def test_a_required_exit_outranks_the_rules_while_there_is_a_position_and_a_session() -> None:
    halted = LONG._replace(required=d.EXIT_HALT)
    for signal in (LOW, MIDDLE, HIGH):
        code, _, order = decided(rules(), signal, halted)
        assert (code, order[0]) == (d.EXIT_HALT, -2.0)
    assert decided(rules(), HIGH, halted, SHUT)[::2] == (d.OUTSIDE_SESSION, None)
    assert decided(rules(), LOW, FLAT._replace(required=d.EXIT_HALT))[0] == d.ENTER_LONG
    assert decided(rules(), MIDDLE, halted._replace(waiting=True))[::2] == (d.ORDER_WAITING, None)


def test_the_model_is_asked_about_entries_only_and_reads_its_own_columns() -> None:
    model = Model(0.7)
    made = rules(model)
    for signal, state in ((MIDDLE, FLAT), (MIDDLE, LONG), (HIGH, LONG)):
        assert math.isnan(decided(made, signal, state)[1])
    assert model.asked == []
    code, probability, order = decided(made, LOW, rsi_2=33.0)
    assert (code, probability) == (d.ENTER_LONG, 0.7)
    assert order is not None
    assert model.asked == [[33.0, LOW]]


def test_a_veto_sends_nothing_and_is_recorded_with_its_probability() -> None:
    code, probability, order = decided(rules(Model(0.59)), LOW)
    assert (code, probability, order) == (d.VETO, 0.59, None)
    waiting = decided(rules(Model(0.7)), LOW, FLAT._replace(waiting=True))
    assert waiting == (d.ORDER_WAITING, 0.7, None)


def test_bars_held_count() -> None:
    made = rules(max_bars=3)
    assert decided(made, MIDDLE, LONG._replace(bars_held=2))[0] == d.HOLD
    assert decided(made, MIDDLE, LONG._replace(bars_held=3))[0] == d.EXIT_MAX_BARS


def test_a_decision_in_words() -> None:
    made = rules(Model(0.7), filters=[{"feature": "zscore_20", "max": 1.0}])
    assert made.reason(d.ENTER_LONG) == "enter long"
    assert made.reason(d.FILTERED) == "filter zscore_20"
    assert made.reason(d.MISSING + 2) == "missing rsi_2"
    assert made.reason(d.MISSING + 1, lambda column: f"cold {column}") == "cold 1 zscore_20"


def test_a_vector_of_other_ids_is_refused() -> None:
    with pytest.raises(StrategyError, match=r"x: vector \('ibs', 'rsi_2'\) is not \('ibs',\)"):
        DecisionRules.of(IbsConfig(name="x"), MARKET, None, ("ibs", "rsi_2"))
