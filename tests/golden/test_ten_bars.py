"""Ten-bar examples worked out by hand: every price, cost and cent is derived in the comments.

ES: 50 USD per point, tick 0.25, slippage 1 tick, 1.25 USD per contract and side. A long market order
fills at open + 0.25, a sale at open - 0.25. Entry: IBS <= 0.2, exit: IBS >= 0.8, decided on the close,
filled on the next open.
"""

from __future__ import annotations

import math

import pytest

from lockstep.market.bars import Bars
from lockstep.market.timeframe import Timeframe
from research.backtest.result import BacktestResult
from support.scenarios import NYSE, SPY, backtest, daily_bars, make_bars

pytestmark = pytest.mark.uncompiled

# An entry signal: IBS = (100.50 - 100) / 4 = 0.125. The next open is 101.00.
SIGNAL = (100.0, 104.0, 100.0, 100.5)
# A quiet bar, IBS = 0.5: neither entry nor exit.
QUIET = (101.0, 102.0, 100.0, 101.0)
# An exit signal: IBS = (104.75 - 101) / 4 = 0.9375.
STRONG = (102.0, 105.0, 101.0, 104.75)
AFTER = (104.5, 106.0, 104.0, 105.0)


def only_trade(result: BacktestResult) -> dict[str, object]:
    assert len(result.trades) == 1
    trade = result.trades.iloc[0].to_dict()
    gross = trade["gross_pnl"] - trade["commission"]
    assert trade["net_pnl"] == gross
    assert result.equity["equity"].iloc[-1] == pytest.approx(100_000.0 + trade["net_pnl"], abs=1e-9)
    return trade


def expect(trade: dict[str, object], **values: object) -> None:
    assert {name: trade[name] for name in values} == values


def ten(*rows: tuple[float, float, float, float]) -> list[tuple[float, float, float, float]]:
    """Pad to ten bars with a bar that signals nothing and touches nothing."""
    return [*rows, *[AFTER] * (10 - len(rows))]


def test_long_from_signal_to_signal() -> None:
    result = backtest(daily_bars(ten(SIGNAL, QUIET, STRONG, AFTER)))
    trade = only_trade(result)
    # In: 101.00 + 0.25. Out: 104.50 - 0.25. Gross: 3.00 x 50 = 150.00. Net: 150 - 2 x 1.25 = 147.50.
    expect(trade, side=1, quantity=1.0, entry_price=101.25, exit_price=104.25, exit_reason="signal")
    expect(trade, gross_pnl=150.0, commission=2.5, slippage_cost=25.0, net_pnl=147.5, bars_held=2)
    ends = result.bars.end
    assert trade["decision_end"].value == ends[0]
    assert trade["entry_end"].value == ends[1]
    assert trade["exit_decision_end"].value == ends[2]
    assert trade["exit_end"].value == ends[3]
    # Marked at the closes: bar 2 at 101.00: -0.25 x 50 - 1.25 = -13.75; bar 3 at 104.75: 3.5 x 50 - 1.25.
    assert result.equity["equity"].tolist()[:4] == [100_000.0, 99_986.25, 100_173.75, 100_147.5]


def test_an_entry_at_0_has_no_return() -> None:
    """Prices that are adjusted by differences reach 0 and go below it; dollars are what they were."""
    moved = [tuple(price - 101.25 for price in row) for row in (SIGNAL, QUIET, STRONG, AFTER)]
    trade = only_trade(backtest(daily_bars(moved)))
    expect(trade, entry_price=0.0, exit_price=3.0, gross_pnl=150.0, net_pnl=147.5)
    assert math.isnan(trade["return_fraction"])  # type: ignore[arg-type]


def test_short_from_signal_to_signal() -> None:
    bars = daily_bars(ten(STRONG, AFTER, (105.0, 106.0, 102.0, 102.25), (102.0, 103.0, 101.5, 102.25)))
    result = backtest(bars, direction="short", size={"contracts": 2})
    trade = only_trade(result)
    # In: 104.50 - 0.25. IBS 0.0625 on the third bar. Out: 102.00 + 0.25. Gross: 2.00 x 2 x 50 = 200.00.
    expect(trade, side=-1, quantity=2.0, entry_price=104.25, exit_price=102.25, exit_reason="signal")
    expect(trade, gross_pnl=200.0, commission=5.0, slippage_cost=50.0, net_pnl=195.0)


def test_stop_on_the_entry_bar() -> None:
    # Fill 101.25; stop 1 % below = 100.2375, down to the tick: 100.00. The entry bar's low is 99.50.
    bars = daily_bars(ten(SIGNAL, (101.0, 102.0, 99.5, 101.0)))
    trade = only_trade(backtest(bars, stop={"percent": 1.0}))
    # Out: 100.00 - 0.25. Gross: -1.50 x 50.
    expect(trade, entry_price=101.25, exit_price=99.75, exit_reason="stop", bars_held=0)
    expect(trade, gross_pnl=-75.0, net_pnl=-77.5, slippage_cost=25.0)
    assert trade["entry_end"] == trade["exit_end"]


def test_stop_later() -> None:
    bars = daily_bars(ten(SIGNAL, QUIET, (100.5, 101.0, 98.0, 99.25)))
    trade = only_trade(backtest(bars, stop={"percent": 1.5}))
    # 101.25 x 0.985 = 99.73125, down to 99.50; the second bar's low (100.00) leaves it. Out: 99.25.
    expect(trade, exit_price=99.25, exit_reason="stop", bars_held=1, gross_pnl=-100.0, net_pnl=-102.5)


def test_gap_through_the_stop_fills_at_the_open() -> None:
    bars = daily_bars(ten(SIGNAL, QUIET, (97.0, 98.0, 96.0, 97.5)))
    trade = only_trade(backtest(bars, stop={"percent": 1.5}))
    # Stop 99.50, open 97.00: out at 97.00 - 0.25. Gross: -4.50 x 50.
    expect(trade, exit_price=96.75, exit_reason="stop", gross_pnl=-225.0, net_pnl=-227.5)


def test_short_stop_rounds_up_and_gaps_up() -> None:
    bars = daily_bars(ten(STRONG, AFTER, (108.0, 109.0, 107.0, 108.0)))
    trade = only_trade(backtest(bars, direction="short", stop={"percent": 2.0}))
    # In: 104.25; stop 106.335, up to 106.50; AFTER's high is 106.00. The gap opens at 108: out at 108.25.
    expect(trade, exit_price=108.25, exit_reason="stop", gross_pnl=-200.0)


def test_target_fills_at_its_level_without_slippage() -> None:
    bars = daily_bars(ten(SIGNAL, QUIET, (101.5, 103.5, 101.0, 102.0)))
    trade = only_trade(backtest(bars, target={"percent": 2.0}))
    # 101.25 x 1.02 = 103.275, up to 103.50, which is the third bar's high. Slippage: the entry's only.
    expect(trade, exit_price=103.5, exit_reason="target", gross_pnl=112.5, slippage_cost=12.5, net_pnl=110.0)


def test_gap_through_the_target_fills_at_the_better_open() -> None:
    bars = daily_bars(ten(SIGNAL, QUIET, (104.0, 104.5, 99.0, 102.0)))
    trade = only_trade(backtest(bars, target={"percent": 2.0}, stop={"percent": 1.5}))
    # The open is the first price of the bar: the target at 103.50 is filled there, the low comes later.
    expect(trade, exit_price=104.0, exit_reason="target", gross_pnl=137.5)


def test_stop_before_target_in_one_bar() -> None:
    bars = daily_bars(ten(SIGNAL, QUIET, (101.5, 104.0, 99.0, 103.0)))
    trade = only_trade(backtest(bars, target={"percent": 2.0}, stop={"percent": 1.5}))
    expect(trade, exit_price=99.25, exit_reason="stop")


def test_atr_stop_uses_the_value_of_the_decision() -> None:
    # ATR-14 is cold on a ten-bar history: the entry is refused by name instead of trading without a stop.
    result = backtest(daily_bars(ten(SIGNAL, QUIET)), stop={"atr": 2.0})
    assert len(result.trades) == 0
    assert "cold atr_14" in set(result.reasons["reason"])


def test_longest_hold() -> None:
    result = backtest(daily_bars(ten(SIGNAL, QUIET, QUIET, QUIET, QUIET)), max_bars=3)
    trade = only_trade(result)
    # Filled on bar 2; bars 2, 3, 4 are held; decided on bar 4, out on the open of bar 5: 101.00 - 0.25.
    expect(trade, exit_reason="max bars", bars_held=3, exit_price=100.75, gross_pnl=-25.0)
    assert trade["exit_end"].value == result.bars.end[4]


def test_close_execution_fills_on_the_signal_bar() -> None:
    result = backtest(daily_bars(ten(SIGNAL, QUIET, STRONG)), execution="close")
    trade = only_trade(result)
    # In at the close 100.50 + 0.25, out at the close 104.75 - 0.25.
    expect(trade, entry_price=100.75, exit_price=104.5, gross_pnl=187.5, bars_held=2)
    assert trade["entry_end"] == trade["decision_end"]


def test_the_position_that_is_open_at_the_end_is_marked_not_closed() -> None:
    rows = [QUIET] * 8 + [SIGNAL, QUIET]
    result = backtest(daily_bars(rows))
    assert result.trades["status"].tolist() == ["open"]
    assert result.equity["equity"].iloc[-1] == 100_000.0 - 0.25 * 50 - 1.25


def half_day(rows: list[tuple[float, float, float, float]]) -> Bars:
    """2019-11-29, the day after Thanksgiving: NYSE closes at 13:00; hourly bars end 10:00 to 13:00."""
    stamps = [f"2019-11-29T{hour}:00" for hour in (15, 16, 17, 18)] + [
        f"2019-12-02T{hour}:00" for hour in (15, 16, 17, 18, 19, 20)
    ]
    return make_bars(rows, stamps, symbol="SPY", timeframe=Timeframe.parse("1h"))


WEAK = (314.0, 314.5, 313.5, 313.6)
FLAT = (314.0, 314.5, 313.5, 314.0)


def test_auto_close_on_a_half_day_leaves_a_bar_to_fill_in() -> None:
    # Auto-close 15:45, but the session ends at 13:00: decided on the bar to 12:00, filled in the last one.
    result = backtest(
        half_day([WEAK, FLAT, FLAT, FLAT, *[FLAT] * 6]), instrument=SPY, session=NYSE, auto_close="15:45"
    )
    trade = only_trade(result)
    expect(trade, entry_price=314.01, exit_price=313.99, exit_reason="session", bars_held=2)
    assert str(trade["exit_decision_end"]) == "2019-11-29 17:00:00+00:00"
    assert str(trade["exit_end"]) == "2019-11-29 18:00:00+00:00"


def test_session_exit_on_a_full_day() -> None:
    rows = [FLAT] * 4 + [WEAK, FLAT, FLAT, FLAT, FLAT, FLAT]
    result = backtest(half_day(rows), instrument=SPY, session=NYSE, auto_close="14:00")
    trade = only_trade(result)
    # 14:00 New York is 19:00 UTC: decided there, filled at the open of the bar that ends at 15:00.
    expect(trade, exit_reason="session", bars_held=4)
    assert str(trade["exit_end"]) == "2019-12-02 20:00:00+00:00"


def test_entries_after_the_auto_close_are_refused() -> None:
    rows = [FLAT, FLAT, WEAK, WEAK, *[FLAT] * 6]
    result = backtest(half_day(rows), instrument=SPY, session=NYSE, auto_close="15:45")
    assert len(result.trades) == 0
    assert dict(zip(result.reasons["reason"], result.reasons["count"], strict=True))["after auto-close"] == 2


@pytest.mark.parametrize(
    ("window", "trades"),
    [({"start": "10:30", "end": "15:00"}, 0), ({"start": "10:00", "end": "15:00"}, 1)],
    ids=["before the window", "on its first minute"],
)
def test_entry_window(window: dict[str, str], trades: int) -> None:
    rows = [WEAK, *[FLAT] * 9]
    result = backtest(half_day(rows), instrument=SPY, session=NYSE, window=window)
    assert len(result.trades) == trades
