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
from lockstep.market.continuous import levels
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.portfolio.config import VOLATILITY_ID, PortfolioConfig, smallest_step
from lockstep.strategy.config import StrategyConfig
from research.optimise.covariance import correlation_of, shrunk_covariance
from research.optimise.lanes import LaneStream
from research.optimise.plan import PlannedLane, PortfolioPlan
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
    contracts  float64 (n,): what an entry of one unit buys, the median of the newest ones, of all members of
               an ensemble together; smallest: of the smallest of them
    notional   float64 (n,), USD, likewise
    """

    plan: PortfolioPlan
    lanes: Mapping[str, LaneStream]
    book: InstrumentBook
    dates: DateRange
    ground: PortfolioGround
    pnl: Floats
    contracts: Floats
    smallest: Floats
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
        symbols = tuple(sorted(lanes))
        scales = np.array([_scale(plan.lane(each), lanes[each]) for each in symbols])
        alone = [_alone(plan, lanes, book, symbol) for symbol in symbols]
        swept = sweep_portfolio(ground, alone, keep_profits=True)
        entries = [_entries(ground, one, lanes[each]) for each, one in zip(symbols, alone, strict=True)]
        return cls(
            plan=plan,
            lanes=lanes,
            book=book,
            dates=dates,
            ground=ground,
            pnl=np.ascontiguousarray((swept.profits / scales[:, None]).T),
            contracts=np.array([sum(each[:, 0]) for each in entries]) / scales,
            smallest=np.array([min(each[:, 0]) for each in entries]) / scales,
            notional=np.array([sum(each[:, 1]) for each in entries]) / scales,
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        """The lanes' symbols, sorted."""
        return tuple(sorted(self.lanes))

    @property
    def traded(self) -> dict[str, LaneStream]:
        """What trades, by the names of lanes: an ensemble's members each on their own."""
        return {name: each for lane in self.lanes.values() for name, each in lane.traded.items()}

    @property
    def days(self) -> Stamps:
        """Session dates, int64 (T,), days since 1970."""
        return self.ground.days

    @cached_property
    def steps(self) -> Floats:
        """The smallest change of each lane's units: a step of its contracts, or of its weight, (n,)."""
        return np.array([
            smallest_step(self.plan.lane(symbol).members, self.book.instrument(symbol).size_step)
            if each.is_fixed else _STEP_OF_WEIGHT
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
        """Trade portfolios in which some lanes follow other strategies, by their names."""
        changed = {symbol: each.following(strategies) for symbol, each in self.lanes.items()}
        ground = _ground(self.plan, changed, self.book, self.dates) if strategies else self.ground
        return sweep_portfolio(ground, configs, keep_profits=True)


def _ground(
    plan: PortfolioPlan, lanes: Mapping[str, LaneStream], book: InstrumentBook, dates: DateRange
) -> PortfolioGround:
    traded = {name: each for lane in lanes.values() for name, each in lane.traded.items()}
    return PortfolioGround.of(
        {name: each.strategy for name, each in traded.items()},
        {name: each.history for name, each in traded.items()},
        book.session_named(plan.day),
        vetoes={name: each.veto for name, each in traded.items() if each.veto is not None},
        answers={name: each.answers for name, each in traded.items() if each.answers is not None},
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
        planned, step = plan.lane(other), book.instrument(other).size_step
        unit = _scale(planned, each) if other == symbol else smallest_step(planned.members, step)
        size = {"units": unit} if each.is_fixed else {"weight": _SHARE / len(lanes)}
        if other == symbol and not each.is_fixed:
            size = {"weight": _SHARE}
        limit = {} if other == symbol else {"max_contracts": step / 2}
        members = [member.model_dump(exclude_none=True) for member in planned.members]
        what = {"members": members} if members else {"strategy": "alone"}
        content.append({"symbol": other, **what, **size, **limit})
    capital = plan.capital if own.is_fixed else plan.capital * _FINE / _SHARE
    return PortfolioConfig.model_validate(
        {"name": "alone", "capital": capital, "day": plan.day, "lanes": content}
    )


def _scale(planned: PlannedLane, lane: LaneStream) -> float:
    """Return the units that a lane trades alone: so many that no rounding is left."""
    return smallest_step(planned.members, 1.0) if lane.is_fixed else _FINE


def _entries(ground: PortfolioGround, alone: PortfolioConfig, lane: LaneStream) -> Floats:
    """Return contracts and notional value, USD, of the newest entries of what a lane trades, (members, 2)."""
    told, found = trace_portfolio(ground, alone).proposals, []
    for name in lane.traded:
        place = ground.symbols.index(name)
        own = told[told[:, P_LANE] == place][-_RECENT:]
        if not own.size:
            raise DataError(
                f"{name}: its strategy enters nothing in {ground.days.size} sessions; leave it out"
            )
        rows = ground.base[place] + ground.rows[own[:, P_SET].astype(np.int64), place]
        values = own[:, P_BASE] * np.abs(ground.bars[rows, BAR_CLOSE])
        unit = ground.markets[name].instrument.multiplier
        found.append((float(np.median(own[:, P_BASE])), float(np.median(values)) * unit))
    return np.array(found)


def _daily_changes(lanes: Mapping[str, LaneStream], last: date, window: int) -> Floats:
    """Return changes of the last close of each session in points, float64 (window, n), by sorted symbol."""
    closes: list[dict[int, float]] = []
    for symbol, each in sorted(lanes.items()):
        bars = levels(each.history.series(SeriesKey(symbol, each.strategy.bars)))
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
