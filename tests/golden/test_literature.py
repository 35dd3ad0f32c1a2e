"""The published IBS rule on real SPY bars; `docs/literature.md` says why the numbers differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lockstep.market.dates import DateRange
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY
from lockstep.strategy.families.ibs import IbsConfig
from research.backtest.run import run_backtest

CONFIG = Path(__file__).parents[2] / "configs" / "strategies" / "ibs_literature.yaml"
SPAN = DateRange.of("2000-01-01", "2020-10-31")


@pytest.mark.parametrize(
    ("execution", "mean", "winners"), [("close", 0.003214, 0.6898), ("next_open", 0.003150, 0.6817)]
)
def test_spy_2000_to_2020(shared_data: Path, execution: str, mean: float, winners: float) -> None:
    history = load_history("SPY", shared_data / "equity_hourly", timeframe=DAILY)
    market = history.markets["SPY"]
    free = market.instrument.model_copy(
        update={"commission": 0.0, "commission_minimum": 0.0, "slippage_ticks": 0.0}
    )
    history = replace(history, markets={**history.markets, "SPY": replace(market, instrument=free)})
    result = run_backtest(IbsConfig.load(CONFIG).replaced(execution=execution), history, "SPY", span=SPAN)
    trades = result.trades[result.trades["status"] == "closed"]
    assert len(trades) == 619
    assert trades["return_fraction"].mean() == pytest.approx(mean, abs=1e-6)
    assert (trades["net_pnl"] > 0).mean() == pytest.approx(winners, abs=1e-4)
