"""Order size and protective distances."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lockstep.compiled import python_source
from lockstep.market.instrument import Instrument
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.sizing import contracts, entry_order
from support.scenarios import ES, backtest, daily_bars

pytestmark = pytest.mark.uncompiled

BTC = Instrument(symbol="BTC-USD", multiplier=1.0, tick_size=0.01, size_step=0.0001, session="CRYPTO")


def size(instrument: Instrument, values: list[float], close: float, **kind: object) -> float:
    config = IbsConfig.model_validate({"name": "s", "size": kind, "capital": 100_000.0})
    rules = config.sizing_rules(instrument)
    compiled = contracts(np.array(values), close, rules)
    assert compiled == python_source(contracts)(np.array(values), close, rules)
    return compiled


def test_fixed_size_is_in_steps_of_the_instrument() -> None:
    assert size(ES, [0.1], 4000.0, kind="fixed", contracts=3) == 3.0
    assert size(ES, [0.1], 4000.0, kind="fixed", contracts=2.9) == 2.0
    assert size(ES, [0.1], 4000.0, kind="fixed", contracts=0.5) == 0.0
    assert size(BTC, [0.1], 40_000.0, kind="fixed", contracts=0.12345) == 0.1234


def test_risk_size_rounds_down() -> None:
    # 1 % of 100,000 = 1,000 USD over 6.5 points x 50 USD = 325 USD: 3.08 contracts.
    assert size(ES, [0.1, 6.5], 4000.0, kind="risk", risk=0.01) == 3.0
    assert size(ES, [0.1, 5.0], 4000.0, kind="risk", risk=0.01) == 4.0
    assert size(ES, [0.1, 25.0], 4000.0, kind="risk", risk=0.01) == 0.0


def test_volatility_size() -> None:
    # 20 % of 100,000 = 20,000 USD a year over 0.16 x |4,000| x 50 = 32,000 USD: none; at 100 points: 25.
    assert size(ES, [0.1, 0.16], 4000.0, kind="volatility", target=0.2) == 0.0
    assert size(ES, [0.1, 0.16], 100.0, kind="volatility", target=0.2) == 25.0
    assert size(ES, [0.1, 0.16], -100.0, kind="volatility", target=0.2) == 25.0


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_a_risk_that_is_not_positive_gives_no_size(value: float) -> None:
    assert size(ES, [0.1, value], 4000.0, kind="risk", risk=0.01) == 0.0


def test_size_zero_is_a_counted_reason() -> None:
    result = backtest(daily_bars([(100.0, 104.0, 100.0, 100.5)] * 4), size={"contracts": 0.5})
    assert result.reasons["reason"].tolist() == ["size zero"]
    assert result.reasons["count"].tolist() == [4]
    assert len(result.orders) == 0


def test_distances() -> None:
    config = IbsConfig.model_validate(
        {"name": "s", "stop": {"atr": 2.0, "feature": "atr_14"}, "target": {"percent": 1.5}}
    )
    assert config.feature_ids == ("ibs", "atr_14")
    for function in (entry_order, python_source(entry_order)):
        order = function(-2.0, np.array([0.1, 3.25]), config.exit_rules())
        assert order == (-2.0, 0.0, 6.5, 0.015, 0.0)


def test_no_distance_is_nan() -> None:
    config = IbsConfig(name="s")
    order = entry_order(1.0, np.array([0.1]), config.exit_rules())
    assert order[0] == 1.0
    assert math.isnan(order[1])
    assert math.isnan(order[3])
