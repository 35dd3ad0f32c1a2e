"""Order size and protective distances."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lockstep.compiled import python_source
from lockstep.market.instrument import Instrument
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.sizing import (
    FIXED,
    MODE,
    REGIME,
    SIZING,
    contracts,
    entry_order,
    measured,
    measures,
    multiplied,
    sized,
    sizing_of,
)
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


BY = {"feature": "regime_10_0.5_1_15_0.8", "bull": 0.5, "bear": 0.0, "high_volatility": 0.25}


@pytest.mark.parametrize(("regime", "part"), [(1.0, 0.5), (-1.0, 0.0), (0.0, 1.0), (2.0, 0.25)])
def test_a_regime_makes_every_kind_of_size_smaller(regime: float, part: float) -> None:
    # 16 contracts each, in a market of 8 points of risk: 16 x 50 x 8 = 6,400 USD; 0.16 of 100 points: 12,800.
    assert size(ES, [0.1, regime], 4000.0, kind="fixed", contracts=16, by_regime=BY) == 16.0 * part
    values = [0.1, 8.0, regime]
    assert size(ES, values, 4000.0, kind="risk", risk=0.064, by_regime=BY) == 16.0 * part
    values = [0.1, 0.16, regime]
    assert size(ES, values, 100.0, kind="volatility", target=0.128, by_regime=BY) == 16.0 * part


@pytest.mark.parametrize("regime", [math.nan, 3.0, -2.0, 0.5])
def test_a_regime_that_is_not_known_trades_nothing(regime: float) -> None:
    assert size(ES, [0.1, regime], 4000.0, kind="fixed", contracts=16, by_regime=BY) == 0.0
    assert size(ES, [0.1, 8.0, regime], 4000.0, kind="risk", risk=0.064, by_regime=BY) == 0.0


@pytest.mark.parametrize(
    "kind",
    [
        {"kind": "fixed", "contracts": 16, "by_regime": BY},
        {"kind": "fixed", "contracts": 16},
        {"kind": "risk", "risk": 0.064, "feature": "atr_14", "by_regime": BY},
        {"kind": "risk", "risk": 0.064, "feature": "atr_14"},
    ],
)
def test_the_one_number_that_a_size_is_worked_out_from(kind: dict[str, object]) -> None:
    """A portfolio is told `measured` and works out the same size, however it scales the amount."""
    rules = IbsConfig.model_validate({"name": "s", "size": kind}).sizing_rules(ES)
    codes = (-1.0, 0.0, 1.0, 2.0)
    vectors = np.array([[0.1, code] if rules[MODE] == FIXED else [0.1, 8.0, code] for code in codes])
    for scale in (1.0, 0.3):
        rule = multiplied(rules, scale)
        found = [sized(each, 4000.0, rule) for each in measures(vectors, rules)]
        assert found == [contracts(each, 4000.0, rule) for each in vectors]
        assert [measured(each, rules) for each in vectors] == measures(vectors, rules).tolist()


def test_a_table_of_sizings_holds_whole_sizings() -> None:
    rules = IbsConfig.model_validate(
        {"name": "s", "size": {"kind": "fixed", "contracts": 16, "by_regime": BY}}
    ).sizing_rules(ES)
    assert sizing_of(np.array(rules)) == rules
    assert len(rules) == SIZING
    assert rules[REGIME:] == (1.0, 0.0, 1.0, 0.5, 0.25)


def test_a_regime_changes_the_fills() -> None:
    """A whole backtest: the same trades, those of one regime at half the size."""
    rows = [(100.0, 104.0, 100.0, 100.5 + 0.4 * (i % 7)) for i in range(60)]
    plain = backtest(daily_bars(rows), size={"contracts": 4})
    by = {"feature": "regime_10_0.5_1_15_0.8", "bull": 0.5, "bear": 0.5, "sideways": 0.5}
    reduced = backtest(daily_bars(rows), size={"contracts": 4, "by_regime": by})
    sizes = reduced.trades["quantity"].abs()
    assert {2.0, 4.0} >= set(sizes)
    assert 2.0 in set(sizes)
    assert len(reduced.trades) <= len(plain.trades)
