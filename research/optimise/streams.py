"""The lanes' own profit and loss per session, out of sample: what a portfolio is made of.

All lanes trade the dates that they have in common, in the compiled twin; see `lanes.py` for which those are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Self

import numpy as np

from lockstep.errors import DataError
from lockstep.market.bars import Floats, Stamps
from lockstep.market.config import InstrumentBook
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.portfolio.config import VOLATILITY_ID, PortfolioConfig
from lockstep.strategy.config import StrategyConfig
from research.optimise.covariance import correlation_of, shrunk_covariance
from research.optimise.lanes import LaneStream
from research.optimise.plan import PortfolioPlan
from research.sweep.portfolio import PortfolioGround, PortfolioSweep, sweep_portfolio, trace_portfolio
from research.sweep.portfolio_loop import BAR_CLOSE, P_BASE, P_LANE, P_SET

LEAST_SESSIONS = 504
"""Sessions that all lanes must have in common: two years."""
_FINE = 10_000.0
_SHARE = 0.5
_RECENT = 50
_STEP_OF_WEIGHT = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class PortfolioStreams:
    """T sessions of n lanes in the twin; made by `of`.

    days       int64 (T,), days since 1970
    pnl        float64 (T, n), USD per session of one unit: a contract, or a weight of 1
    contracts  float64 (n,): what an entry of one unit buys, the median of the newest ones
    notional   float64 (n,), USD, likewise
    """

    plan: PortfolioPlan
    lanes: Mapping[str, LaneStream]
    book: InstrumentBook
    dates: DateRange
    ground: PortfolioGround
    pnl: Floats
    contracts: Floats
    notional: Floats

    @classmethod
    def of(cls, plan: PortfolioPlan, lanes: Mapping[str, LaneStream], book: InstrumentBook) -> Self:
        """Trade every lane alone on the dates that all have in common.

        DataError where these are fewer than `LEAST_SESSIONS`, or where a lane never trades.
        """
        start, end = (
            max(each.dates.start for each in lanes.values()),
            min(each.dates.end for each in lanes.values()),
        )
        if start > end:
            _refuse_short(lanes, 0)
        dates = DateRange(start=start, end=end)
        ground = _ground(plan, lanes, book, dates)
        if ground.days.size < LEAST_SESSIONS:
            _refuse_short(lanes, ground.days.size)
        scales = np.array([1.0 if each.is_fixed else _FINE for each in lanes.values()])
        alone = [_alone(plan, lanes, book, symbol) for symbol in ground.symbols]
        swept = sweep_portfolio(ground, alone, keep_profits=True)
        entries = [_entries(ground, one, place) for place, one in enumerate(alone)]
        return cls(
            plan=plan,
            lanes=lanes,
            book=book,
            dates=dates,
            ground=ground,
            pnl=np.ascontiguousarray((swept.profits / scales[:, None]).T),
            contracts=np.array([each[0] for each in entries]) / scales,
            notional=np.array([each[1] for each in entries]) / scales,
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        """The lanes, sorted."""
        return self.ground.symbols

    @property
    def days(self) -> Stamps:
        """Session dates, int64 (T,), days since 1970."""
        return self.ground.days

    @cached_property
    def steps(self) -> Floats:
        """The smallest change of each lane's units: a step of its contracts, or of its weight, (n,)."""
        return np.array([
            self.book.instrument(symbol).size_step if each.is_fixed else _STEP_OF_WEIGHT
            for symbol, each in sorted(self.lanes.items())
        ])  # fmt: skip

    @cached_property
    def changes(self) -> Floats:
        """Daily changes of the instruments, in points, on the last dates of all: float64 (window, n)."""
        return _daily_changes(self.lanes, self.dates.end, self.plan.correlation.window)

    @cached_property
    def correlation(self) -> Floats:
        """Correlations of the daily changes, shrunk, (n, n): what a limit of volatility is judged with."""
        return correlation_of(shrunk_covariance(self.changes, self.symbols))

    @cached_property
    def measured_correlation(self) -> Floats:
        """Correlations of the daily changes as they were, (n, n)."""
        return np.corrcoef(self.changes, rowvar=False).reshape(len(self.lanes), -1)

    def only(self, symbols: Sequence[str]) -> PortfolioStreams:
        """Return the streams of some of the lanes, over the same dates."""
        kept = {symbol: replace(self.lanes[symbol], dates=self.dates) for symbol in sorted(symbols)}
        return PortfolioStreams.of(self.plan, kept, self.book)

    def sweep(self, configs: Sequence[PortfolioConfig]) -> PortfolioSweep:
        """Trade portfolios of these lanes and keep the profit of every session."""
        return sweep_portfolio(self.ground, configs, keep_profits=True)

    def sweep_with(
        self, strategies: Mapping[str, StrategyConfig], configs: Sequence[PortfolioConfig]
    ) -> PortfolioSweep:
        """Trade portfolios in which some lanes follow other strategies, by symbol."""
        changed = {
            symbol: replace(each, strategy=strategies.get(symbol, each.strategy))
            for symbol, each in self.lanes.items()
        }
        ground = _ground(self.plan, changed, self.book, self.dates) if strategies else self.ground
        return sweep_portfolio(ground, configs, keep_profits=True)


def _ground(
    plan: PortfolioPlan, lanes: Mapping[str, LaneStream], book: InstrumentBook, dates: DateRange
) -> PortfolioGround:
    return PortfolioGround.of(
        {symbol: each.strategy for symbol, each in lanes.items()},
        {symbol: each.history for symbol, each in lanes.items()},
        book.session_named(plan.day),
        vetoes={symbol: each.veto for symbol, each in lanes.items() if each.veto is not None},
        answers={symbol: each.answers for symbol, each in lanes.items() if each.answers is not None},
        span=dates,
        volatility=VOLATILITY_ID if all(each.reads_volatility for each in lanes.values()) else "",
        score=plan.rank.id,
    )


def _refuse_short(lanes: Mapping[str, LaneStream], sessions: int) -> None:
    told = "; ".join(f"{symbol} {each.dates} ({each.seen})" for symbol, each in lanes.items())
    raise DataError(
        f"the lanes have {sessions} sessions out of sample in common, at least {LEAST_SESSIONS} are needed: "
        f"{told}; leave the shortest lane out, or train with more walk-forward windows"
    )


def _alone(
    plan: PortfolioPlan, lanes: Mapping[str, LaneStream], book: InstrumentBook, symbol: str
) -> PortfolioConfig:
    """Return a portfolio in which one lane trades one unit, and the others are refused each entry.

    A weight is traded in a much larger account: steps of contracts then round nothing away.
    """
    own = lanes[symbol]
    content = []
    for other, each in lanes.items():
        step = book.instrument(other).size_step
        size = (
            {"units": 1.0 if other == symbol else step} if each.is_fixed else {"weight": _SHARE / len(lanes)}
        )
        if other == symbol and not each.is_fixed:
            size = {"weight": _SHARE}
        limit = {} if other == symbol else {"max_contracts": step / 2}
        content.append({"symbol": other, "strategy": "alone", **size, **limit})
    capital = plan.capital if own.is_fixed else plan.capital * _FINE / _SHARE
    return PortfolioConfig.model_validate(
        {"name": "alone", "capital": capital, "day": plan.day, "lanes": content}
    )


def _entries(ground: PortfolioGround, alone: PortfolioConfig, place: int) -> tuple[float, float]:
    """Return contracts and notional value, USD, of the newest entries of the lane that trades."""
    told = trace_portfolio(ground, alone).proposals
    own = told[told[:, P_LANE] == place][-_RECENT:]
    symbol = ground.symbols[place]
    if not own.size:
        raise DataError(f"{symbol}: its strategy enters nothing in {ground.days.size} sessions; leave it out")
    rows = ground.base[place] + ground.rows[own[:, P_SET].astype(np.int64), place]
    values = own[:, P_BASE] * np.abs(ground.bars[rows, BAR_CLOSE])
    unit = ground.markets[symbol].instrument.multiplier
    return float(np.median(own[:, P_BASE])), float(np.median(values)) * unit


def _daily_changes(lanes: Mapping[str, LaneStream], last: date, window: int) -> Floats:
    """Return changes of the last close of each session in points, float64 (window, n), by sorted symbol."""
    closes: list[dict[int, float]] = []
    for symbol, each in sorted(lanes.items()):
        bars = each.history.series(SeriesKey(symbol, each.strategy.bars))
        dates = each.history.markets[symbol].session.dates(bars.end, bars.timeframe)
        days, known = dates.astype(np.int64), dates <= np.datetime64(last, "D")
        closes.append(dict(zip(days[known].tolist(), bars.close[known].tolist(), strict=True)))
    common = sorted(set.intersection(*(set(each) for each in closes)))[-window - 1 :]
    if len(common) <= window:
        raise DataError(
            f"correlation: {len(common) - 1} daily changes of all lanes in common up to {last}, "
            f"correlation.window asks for {window}; make it smaller"
        )
    return np.diff(np.array([[each[day] for each in closes] for day in common]), axis=0)
