"""What a run earned beyond a constant position of its own mean exposure: skill, as far as it is not drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from lockstep.market.bars import Bars, Floats
from lockstep.market.continuous import levels
from lockstep.market.history import Market
from lockstep.market.sessions import Dates
from lockstep.metrics import curve_from, market_returns, period_returns, session_equity, timing_returns
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.matching import MULTIPLIER, NO_FILL, Costs, market_price
from research.sweep.inputs import in_points
from research.sweep.kernels import FILL_BAR, FILL_KIND, FILL_QUANTITY
from research.sweep.run import Trace


@dataclass(frozen=True, kw_only=True, eq=False)
class TimedAccount:
    """The sessions of one run beside those of its market, S of them.

    date      datetime64[D] (S,), rising
    returns   float64 (S,): change of equity over the capital; market: float64 (S,), what one unit of exposure
              to the instrument earned, see `lockstep.metrics.market_returns`
    beta      mean signed exposure over the bars, in units of the capital
    """

    date: Dates
    returns: Floats
    market: Floats
    beta: float

    @classmethod
    def of_trace(
        cls, trace: Trace, bars: Bars, market: Market, config: StrategyConfig, *, points: bool | None = None
    ) -> Self:
        """Return the sessions of a trace of `config` over `bars`, those traded; beta as the sweep has it.

        points   whether the market is measured in points, see `in_points`; None: as these bars have it
        """
        capital, costs = config.capital, market.instrument.costs
        date = market.session.dates(bars.end, bars.timeframe)
        ends = np.append(np.flatnonzero(date[1:] != date[:-1]), len(date) - 1)
        points = in_points(bars) if points is None else points
        seen = levels(bars)
        worth = np.ones(len(bars)) if points else bars.close
        worth = worth * costs[MULTIPLIER]
        held = _held(trace.fills, bars.open, costs, at_close=config.execution == "close")
        return cls(
            date=date[ends],
            returns=period_returns(
                curve_from(capital, session_equity(trace.equity, date.astype(np.int64))), capital
            ),
            market=market_returns(seen.close[ends], float(seen.open[0]), points),
            beta=float(held @ worth) / len(bars) / capital,
        )

    @property
    def residual(self) -> Floats:
        """Returns less beta times the market's, float64 (S,): its mean is zero where nothing but drift is."""
        return timing_returns(self.returns, self.market, self.beta)


def _held(fills: Floats, opens: Floats, costs: Costs, *, at_close: bool) -> Floats:
    """Return the contracts that were held over each bar, float64 (n,).

    A bar that ends with a position counts in full, one in which a stop or a target was met in half.
    """
    held = np.zeros(opens.size)
    np.add.at(held, fills[:, FILL_BAR].astype(np.int64), fills[:, FILL_QUANTITY])
    held = np.cumsum(held)
    for bar, _, quantity, price, *_ in fills[fills[:, FILL_KIND] != NO_FILL].tolist():
        opened = opens[int(bar)]
        if at_close or price not in (opened, market_price(quantity, opened, costs)):
            held[int(bar)] -= (-0.5 if at_close else 0.5) * quantity
    return held
