"""Raw contracts: research, compiled run and sweep trade the same, each fill in the contract of its bar."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lockstep.market.continuous import adjusted
from lockstep.market.history import History
from lockstep.market.rolls import NEXT
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.family import strategy_of
from research.backtest.run import run_backtest
from support.contracts import ROLLS, TICK, raw, rolled_history
from support.markets import CME, HOURLY
from support.sweep_equality import assert_equal

# Held until the bars change: most positions meet a roll.
HOLDER = {"entry": (0.0, 0.3), "exit": (0.98, 1.0), "short_entry": (0.7, 1.0), "short_exit": (0.0, 0.02)}
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {**HOLDER, "direction": "both"},
    "levels": {
        **HOLDER,
        "direction": "both",
        "stop": {"percent": 3.0},
        "target": {"atr": 6.0, "feature": "atr_14"},
    },
    "at close": {**HOLDER, "direction": "both", "execution": "close"},
}


def config(name: str, timeframe: Timeframe) -> IbsConfig:
    return IbsConfig.model_validate(
        {"name": name.replace(" ", "-"), "timeframe": str(timeframe), "features": ["atr_14",
         "pair_zscore_20"], **CONFIGS[name]}
    )  # fmt: skip


def crossing(history: History, timeframe: Timeframe, name: str = "plain") -> int:
    """Return how many trades are entered in one contract and left in another."""
    rolls = raw("ES", timeframe=timeframe).rolls
    assert rolls is not None
    trades = run_backtest(config(name, timeframe), history, "ES").records.trades
    closed = trades["exit_stamp"] > 0
    entered, left = trades["entry_stamp"][closed], trades["exit_stamp"][closed]
    return int((rolls.contract(entered) != rolls.contract(left)).sum())


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("timeframe", [DAILY, HOURLY], ids=str)
class TestEngines:
    def test_all_engines_agree(self, timeframe: Timeframe, name: str) -> None:
        history = rolled_history(raw("ES", timeframe=timeframe))
        assert assert_equal(config(name, timeframe), history, "ES") > 20
        verified = run_backtest(config(name, timeframe), history, "ES", engine="compiled", verify=True)
        assert (verified.trades["exit_reason"] == "roll").sum() >= 3

    def test_nothing_is_held_over_a_roll(self, timeframe: Timeframe, name: str) -> None:
        assert crossing(rolled_history(raw("ES", timeframe=timeframe)), timeframe, name) == 0


@pytest.mark.parametrize("timeframe", [DAILY, HOURLY], ids=str)
def test_fills_are_those_of_the_contract_of_their_bar(timeframe: Timeframe) -> None:
    bars = raw("ES", timeframe=timeframe)
    result = run_backtest(config("plain", timeframe), rolled_history(bars), "ES")
    fills = [each for each in result.records.orders if each.status == "completed"]
    rows = np.searchsorted(bars.end, [each.stamp for each in fills])
    slipped = [TICK if each.quantity > 0 else -TICK for each in fills]
    assert [each.price for each in fills] == (bars.open[rows] + slipped).tolist()


@pytest.mark.parametrize("timeframe", [DAILY, HOURLY], ids=str)
def test_without_the_table_trades_cross_and_earn_the_spread(timeframe: Timeframe) -> None:
    """The control: the same bars, taken for those of one contract."""
    history = rolled_history(replace(raw("ES", timeframe=timeframe), rolls=None))
    assert crossing(history, timeframe) >= 3


def test_a_table_a_day_late_is_seen() -> None:
    """The control: positions are left by the sessions of the table that bars were joined by."""
    bars = raw("ES")
    rolls = bars.rolls
    assert rolls is not None
    late = replace(rolls, leave=rolls.leave + 1)
    assert crossing(rolled_history(replace(bars, rolls=late)), DAILY) > 0


def test_a_loss_is_that_of_the_series_without_jumps() -> None:
    """Points earned are those of the series adjusted as a whole, where no size depends on prices."""
    own = run_backtest(config("plain", DAILY), rolled_history(raw("ES")), "ES").trades
    same = rolled_history(replace(adjusted(raw("ES"), to=0), rolls=None), adjusted(raw("NQ"), to=0))
    whole = run_backtest(config("plain", DAILY), same, "ES").trades
    both = own.merge(whole, on=("entry_end", "exit_end"), suffixes=("", "_whole"))
    assert len(both) > 10
    assert np.allclose(both["gross_pnl"], both["gross_pnl_whole"], atol=1e-6, equal_nan=True)


def test_an_entry_of_the_last_session_fills_in_the_new_contract() -> None:
    bars = raw("ES")
    assert bars.rolls is not None
    near = bars.rolls.nearness(bars.end, DAILY, CME)
    assert np.flatnonzero(near == NEXT).tolist() == [each - 1 for each in ROLLS]
    trades = run_backtest(config("plain", DAILY), rolled_history(bars), "ES").records.trades
    assert set(bars.end[ROLLS]) & set(trades["entry_stamp"])


def test_a_spec_trades_contracts_as_every_engine_does() -> None:
    content = {
        "family": "rules", "name": "dip", "long_entry": {"id": "ibs", "below": 0.3}, "max_bars": 9,
        "long_exit": {"id": "ibs", "above": 0.98},
    }  # fmt: skip
    spec: Any = strategy_of(content, where="test")
    assert assert_equal(spec, rolled_history(raw("ES")), "ES") > 20
