"""Whatever the prices, the tick and the shock: a changed bar is a bar, on the grid, moved the right way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import BadBars
from lockstep.market.history import Market
from research.stress.changes import moved, on_ticks, scaled, with_prices
from support.scenarios import CME, ES, daily_bars

TICKS = st.sampled_from([0.01, 0.05, 0.1, 0.25, 1.0, 5.0, 1 / 32])
PRICES = st.floats(-200.0, 50_000.0, allow_nan=False)
SHOCKS = st.floats(-0.999, 0.999).filter(lambda shock: abs(shock) > 1e-9)


@settings(deadline=None)
@given(st.lists(st.tuples(PRICES, PRICES, PRICES, PRICES), min_size=1, max_size=5), TICKS, SHOCKS)
def test_a_shocked_bar_is_a_bar_on_the_grid(
    drawn: list[tuple[float, ...]], tick: float, shock: float
) -> None:
    """`Bars` refuses a bar whose high or low is wrong, so that making it is the test."""
    rows = [(one[0], max(one), min(one), one[3]) for one in drawn]
    bars = daily_bars(rows)
    market = Market(instrument=ES.model_copy(update={"tick_size": tick}), session=CME)
    changed = scaled(bars, 1.0 + shock, market)
    for name in ("open", "high", "low", "close"):
        prices, before = getattr(changed, name), getattr(bars, name)
        assert (on_ticks(prices, tick) == prices).all()
        assert (np.abs(prices - moved(before, 1.0 + shock)) <= 0.51 * tick + 1e-9).all()
        towards = np.sign(prices - before) * np.sign(shock)
        assert (towards[np.abs(before * shock) > tick] >= 0.0).all()


@given(st.lists(PRICES, min_size=2, max_size=20), TICKS, SHOCKS)
def test_prices_keep_their_order(drawn: list[float], tick: float, shock: float) -> None:
    prices = np.sort(np.array(drawn))
    assert (np.diff(on_ticks(moved(prices, 1.0 + shock), tick)) >= 0.0).all()


def test_control_a_change_that_turns_prices_round_is_refused() -> None:
    with pytest.raises(BadBars, match="high must be >= low"):
        with_prices(daily_bars([(100.0, 104.0, 100.0, 100.5)]), lambda prices: -prices)
