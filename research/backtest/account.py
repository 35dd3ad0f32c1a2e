"""`Account`: what a run did to the account, bar by bar and trade by trade, and any stretch of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd

from lockstep import metrics
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.market.bars import Bars, Floats
from lockstep.market.dates import DateRange
from lockstep.market.history import History, Market
from lockstep.market.sessions import Dates
from lockstep.models.bundle import Bundle
from lockstep.strategy.bundled import config_of, veto_of
from lockstep.strategy.matching import fees
from research.backtest.result import BacktestResult
from research.backtest.run import run_backtest
from research.sweep.kernels import FILL_BAR, FILL_PRICE, FILL_QUANTITY
from research.sweep.run import Trace


@dataclass(frozen=True, kw_only=True, eq=False)
class Account:
    """A run of n bars and k closed trades on constant notional capital, USD.

    date                datetime64[D] (n,): session date of each bar, never falling
    equity              float64 (n,): marked at each bar's close
    pnl                 float64 (k,): net of costs; `ended` datetime64[D] (k,): session date of the exit fill
    carried             float64 (k,): notional at entry times bars held, at least one: USD x bars, >= 0
    capital             > 0; sessions_per_year annualises: the market's, or as many as there were if many are
                        missing
    """

    date: Dates
    equity: Floats
    pnl: Floats
    ended: Dates
    carried: Floats
    capital: float
    sessions_per_year: float

    @classmethod
    def of_trace(cls, trace: Trace, bars: Bars, market: Market, capital: float) -> Self:
        """Return the account of a trace over `bars`, the traded ones; an open trade is marked only."""
        date = market.session.dates(bars.end, bars.timeframe)
        closed = len(trace.fills) // 2
        entries, exits = trace.fills[: 2 * closed : 2], trace.fills[1 : 2 * closed : 2]
        size, instrument = entries[:, FILL_QUANTITY], market.instrument
        bought, sold = entries[:, FILL_PRICE], exits[:, FILL_PRICE]
        gross = (sold - bought) * size * instrument.multiplier
        paid = fees(size, bought, instrument.costs) + fees(size, sold, instrument.costs)
        held = exits[:, FILL_BAR] - entries[:, FILL_BAR]
        return cls(
            date=date,
            equity=trace.equity,
            pnl=gross - paid,
            ended=date[exits[:, FILL_BAR].astype(np.int64)],
            carried=np.abs(size * bought * instrument.multiplier) * np.maximum(held, 1.0),
            capital=capital,
            sessions_per_year=_observed(date, market.session.template.sessions_per_year),
        )

    @classmethod
    def of_backtest(cls, result: BacktestResult) -> Self:
        """Return the account of a run in Backtrader."""
        closed = result.trades[result.trades["status"] == "closed"]
        date = result.market.session.dates(result.bars.end, result.bars.timeframe)
        entries, exits = (
            np.searchsorted(result.bars.end, pd.DatetimeIndex(closed[name]).as_unit("ns").asi8)
            for name in ("entry_end", "exit_end")
        )
        notional = (closed["quantity"] * closed["entry_price"]).abs().to_numpy(dtype=np.float64)
        return cls(
            date=date,
            equity=result.equity["equity"].to_numpy(dtype=np.float64),
            pnl=closed["net_pnl"].to_numpy(dtype=np.float64),
            ended=date[exits],
            carried=notional * result.market.instrument.multiplier * np.maximum(exits - entries, 1),
            capital=result.config.capital,
            sessions_per_year=_observed(date, result.sessions_per_year),
        )

    def between(self, first: np.datetime64, last: np.datetime64) -> Self:
        """Return the stretch from session `first` to `last`, inclusive; its equity starts at the capital.

        A trade belongs to the stretch in which it ended.
        """
        start, stop = np.searchsorted(self.date, first), np.searchsorted(self.date, last, side="right")
        before = self.equity[start - 1] if start else self.capital
        within = (self.ended >= first) & (self.ended <= last)
        return replace(
            self,
            date=self.date[start:stop],
            equity=self.equity[start:stop] - before + self.capital,
            pnl=self.pnl[within],
            ended=self.ended[within],
            carried=self.carried[within],
        )

    @cached_property
    def sessions(self) -> Dates:
        """The session dates, datetime64[D] (s,), rising."""
        return np.unique(self.date)

    @cached_property
    def session_equity(self) -> Floats:
        """Equity after each session, float64 (s,)."""
        return metrics.session_equity(self.equity, self.date.astype(np.int64))

    @cached_property
    def returns(self) -> Floats:
        """Each session's profit and loss over the capital, float64 (s,)."""
        curve = metrics.curve_from(self.capital, self.session_equity)
        return metrics.period_returns(curve, self.capital)

    @cached_property
    def measures(self) -> dict[str, float]:
        """Measures by the names of `lockstep.metrics`, nan where undefined; drawdown over capital."""
        curve = metrics.curve_from(self.capital, self.equity)
        return {
            "trades": float(self.pnl.size),
            "net_profit": float(curve[-1] - self.capital),
            "sharpe": metrics.sharpe(self.returns, self.sessions_per_year),
            "profit_factor": metrics.profit_factor(self.pnl),
            "max_drawdown": float(metrics.drawdowns(curve).max()) / self.capital,
            "win_rate": metrics.win_rate(self.pnl),
        }

    @property
    def exposure(self) -> float:
        """Mean absolute exposure of a bar, USD: what its closed trades carried, over all its bars."""
        return float(self.carried.sum()) / self.date.size

    @property
    def sharpe(self) -> float:
        """Annual Sharpe ratio of session returns; 0 where the account never moved, as nothing was earned."""
        value = self.measures["sharpe"]
        return 0.0 if math.isnan(value) else value


def _observed(date: Dates, nominal: float) -> float:
    """Sessions of a year: `nominal`, unless the dates lack many of them; as `metrics.performance` has it."""
    return metrics.time_scale(date, np.unique(date).size, nominal).periods_per_year


def bundle_backtest(
    bundle: Bundle, history: History, span: DateRange, registry: FeatureRegistry | None = None
) -> BacktestResult:
    """Return what a bundle's own strategy and veto do over a span, in Backtrader."""
    return run_backtest(
        config_of(bundle), history, bundle.symbol, span=span, veto=veto_of(bundle), registry=registry
    )


def bundle_account(
    bundle: Bundle, history: History, span: DateRange, registry: FeatureRegistry | None = None
) -> Account:
    """Return the account of `bundle_backtest`."""
    return Account.of_backtest(bundle_backtest(bundle, history, span, registry))
