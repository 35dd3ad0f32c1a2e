"""Test windows strung together: the one account that a walk-forward would have had, and a fixed variant's.

A mean over windows is no account: no drawdown spans two windows in it, and a window with one trade weighs
as much as a window with fifty. What is shown as a result is therefore traded as one account, leg after leg,
by the engine that trades live:

- Where the next window keeps the variant, nothing rolls over: the position is carried, as in one run.
- Where the variant changes, the old one enters nothing more and manages its open position out by its own
  rules; the new one starts flat on the session after that exit. So does a live desk: a changed
  configuration begins a new epoch once it is flat.
- Test windows that overlap are traded up to the start of the next one, whose choice is newer.

Sizes follow constant capital, so that the legs' profits add up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import NoBars
from lockstep.market.bars import Floats, Stamps
from lockstep.market.continuous import levels
from lockstep.market.dates import DateRange
from lockstep.market.history import SeriesKey
from lockstep.market.sessions import Dates
from lockstep.metrics import market_returns, session_equity, sharpe, summary, time_scale, timing_returns
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.records import STOP, TARGET
from research.backtest.result import BacktestResult
from research.backtest.run import run_backtest
from research.experiments.evaluation import Data
from research.ledger.tables import METRICS
from research.splits.ranges import TrainTestWindow
from research.statistics.sharpe import SharpeSample, probabilistic_sharpe
from research.sweep.inputs import in_points

# Beside `METRICS`: the annual Sharpe ratio of what the returns have beyond a constant position, its p-value
# for an account that was not chosen by it, and the size of that position.
TIMING = ("timing_sharpe", "timing_p", "beta")

# What the account is called in which no window knows more than its own training range.
CHOSEN = "walk-forward, each window with the best variant of its training range"

_DAY = timedelta(days=1)
# How many days past a leg's end its exit is looked for first.
_FIRST_LOOK = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """One run of an engine, bar by bar.

    end, day      (n,): the bars' ends, UTC ns, and their session dates
    equity        (n,) USD, `capital` before the first bar; position (n,) after each bar, signed
    held_over     (n,): contracts held over each bar, signed: the position after it, half of what a stop or
                  target closed within it
    close         (n,): of each bar; opening: what the first one opened at; points: see `inputs.in_points`
    entry, exit   (k,): UTC ns of each trade's bars, exit 0 while it is open; pnl (k,) USD net, held (k,) bars
    metrics       measures of `lockstep.metrics`; empty where the course is a part of its run
    """

    capital: float
    metrics: Mapping[str, float]
    end: Stamps
    day: Dates
    equity: Floats
    position: Floats
    held_over: Floats
    close: Floats
    opening: float
    points: bool
    entry: Stamps
    exit: Stamps
    pnl: Floats
    held: Floats


def _stretches(legs: Sequence[Leg]) -> list[DateRange]:
    found: list[DateRange] = []
    for leg in legs:
        if found and leg.dates.start <= found[-1].end + _DAY:
            found[-1] = DateRange(start=found[-1].start, end=leg.dates.end)
        else:
            found.append(leg.dates)
    return found


def figures_of(metrics: Mapping[str, float | None]) -> str:
    """Return the main measures of an account in words."""

    def written(name: str, form: str) -> str:
        value = metrics.get(name)
        return "undefined" if value is None or math.isnan(value) else format(value, form)

    timing = f", timing Sharpe {written('timing_sharpe', '.2f')}" if "timing_sharpe" in metrics else ""
    return (
        f"Sharpe {written('sharpe', '.2f')}{timing}, CAGR {written('cagr', '.1%')}, drawdown "
        f"{written('max_drawdown_fraction', '.1%')}, profit factor {written('profit_factor', '.2f')}, "
        f"{written('trades', ',.0f')} trades, P&L {written('net_profit', ',.0f')} USD"
    )


Engine = Callable[[StrategyConfig, Data, DateRange], Course]


@dataclass(frozen=True, kw_only=True)
class Leg:
    """A variant and the session dates on which it trades; None trades nothing."""

    variant: int | None
    dates: DateRange


@dataclass(frozen=True, kw_only=True, eq=False)
class SymbolAccount:
    """What one account did on a symbol.

    legs      what traded when; a leg that managed its position out ends with that exit
    metrics   the measures of `tables.METRICS` and of `TIMING`, nan where undefined
    days      datetime64[D] (sessions,); equity (sessions,) USD after each session: both empty where only the
              measures were kept, by an earlier version
    """

    symbol: str
    legs: tuple[Leg, ...]
    metrics: Mapping[str, float]
    capital: float
    days: Dates
    equity: Floats

    def __str__(self) -> str:
        return f"{self.symbol} {self.dates}: {figures_of(self.metrics)}"

    @property
    def stretches(self) -> list[DateRange]:
        """The dates of the account: legs that follow each other make one stretch."""
        return _stretches(self.legs)

    @property
    def dates(self) -> str:
        """The dates in words: `2003-06-02 to 2018-12-31`."""
        return ", ".join(map(str, self.stretches))


_RunKey = tuple[str, str, str, DateRange]
_first_runs: ContextVar[dict[_RunKey, Course] | None] = ContextVar("first_runs", default=None)
_KEPT_RUNS = 2


@contextmanager
def first_runs_kept() -> Iterator[None]:
    """Within the block, the first two runs of Backtrader are not made again.

    Of a search that is being finished they are the winner's on its first training and test range, which are
    compared with the sweep first and then shown as accounts.
    """
    token = _first_runs.set({})
    try:
        yield
    finally:
        _first_runs.reset(token)


def backtrader_course(config: StrategyConfig, data: Data, span: DateRange) -> Course:
    """Run a configuration in Backtrader."""
    kept = _first_runs.get()
    if kept is None:
        return _backtrader_course(config, data, span)
    key = (config.to_yaml(defaults=True), data.symbol, data.hash, span)
    if key in kept:
        return kept[key]
    course = _backtrader_course(config, data, span)
    if len(kept) < _KEPT_RUNS:
        kept[key] = course
    return course


def _backtrader_course(config: StrategyConfig, data: Data, span: DateRange) -> Course:
    result = run_backtest(config, data.history, data.symbol, span=span)
    trades, equity, recorded = result.trades, result.equity, result.records.trades
    return Course(
        capital=config.capital,
        metrics=result.metrics,
        end=result.bars.end,
        day=equity["session_date"].to_numpy().astype("datetime64[D]"),
        equity=equity["equity"].to_numpy(dtype=np.float64),
        position=equity["position"].to_numpy(dtype=np.float64),
        held_over=_held_over(result),
        close=levels(result.bars).close,
        opening=float(levels(result.bars).open[0]),
        points=in_points(data.history.series(SeriesKey(data.symbol, config.bars))),
        entry=recorded["entry_stamp"],
        exit=recorded["exit_stamp"],
        pnl=trades["net_pnl"].to_numpy(dtype=np.float64),
        held=trades["bars_held"].to_numpy(dtype=np.float64),
    )


def _held_over(result: BacktestResult) -> Floats:
    """Return `Course.held_over` of a run. An entry at the close is held from the end of its bar on."""
    held: Floats = result.equity["position"].to_numpy(dtype=np.float64, copy=True)
    instrument, bars = result.market.instrument, result.bars
    slipped = instrument.slippage_ticks * instrument.tick_size * (1.0 + 1e-9)
    at_close = result.config.execution == "close"
    for trade in result.records.trades:
        if trade.exit_reason in (STOP, TARGET):
            bar = int(np.searchsorted(bars.end, trade.exit_stamp))
            if at_close:
                held[bar] -= 0.5 * trade.quantity
            elif abs(trade.exit_price - bars.open[bar]) > slipped:
                # It was not met by the opening itself.
                held[bar] += 0.5 * trade.quantity
    return held


def legs_of(windows: Sequence[TrainTestWindow], variants: Sequence[int | None]) -> list[Leg]:
    """Return the legs of a walk-forward in which `variants` trade the windows; neighbours alike are one."""
    legs: list[Leg] = []
    following = [*(each.test.start - _DAY for each in windows[1:]), date.max]
    for window, variant, last in zip(windows, variants, following, strict=True):
        dates = DateRange(start=window.test.start, end=min(window.test.end, last))
        if legs and legs[-1].variant == variant and legs[-1].dates.end + _DAY >= dates.start:
            dates = DateRange(start=legs[-1].dates.start, end=dates.end)
            legs.pop()
        legs.append(Leg(variant=variant, dates=dates))
    return legs


def trade(
    legs: Sequence[Leg], config_of: Callable[[int | None], StrategyConfig], data: Data, engine: Engine
) -> SymbolAccount:
    """Trade the legs one after the other as one account of the first configuration's capital."""

    def run(leg: Leg, dates: DateRange) -> Course:
        return _run(leg, dates, data, config_of, engine)

    traded: list[tuple[Leg, Course]] = []
    free = legs[0].dates.start
    for leg, following in itertools.zip_longest(legs, legs[1:]):
        start = max(free, leg.dates.start)
        if start > leg.dates.end:
            continue
        dates = DateRange(start=start, end=leg.dates.end)
        try:
            course = run(leg, dates)
        except NoBars:
            # The sessions that an exit left of the window hold no bar.
            continue
        if following is not None and course.position[-1]:
            boundary = int(course.end[-1])
            course = _managed_out(_until_out(leg, dates, legs[-1].dates.end, boundary, run), boundary)
            left: date = course.day[-1].item()
            free, dates = left + _DAY, DateRange(start=start, end=max(left, dates.end))
        traded.append((replace(leg, dates=dates), course))
    return _account(traded, data)


def _until_out(
    leg: Leg, dates: DateRange, last: date, boundary: int, run: Callable[[Leg, DateRange], Course]
) -> Course:
    """Return a run that lasts until the position open at `boundary` is closed, or to the `last` day."""
    days = _FIRST_LOOK
    while True:
        end = min(dates.end + timedelta(days=days), last)
        course = run(leg, DateRange(start=dates.start, end=end))
        open_then = course.exit[course.entry <= boundary]
        if end == last or (open_then.size and open_then[-1]):
            return course
        days *= 4


def _run(
    leg: Leg, dates: DateRange, data: Data, config_of: Callable[[int | None], StrategyConfig], engine: Engine
) -> Course:
    if leg.variant is not None:
        return engine(config_of(leg.variant), data, dates)
    return _idle(config_of(None), data, dates)


def _idle(config: StrategyConfig, data: Data, dates: DateRange) -> Course:
    """Return the course of an account that trades nothing."""
    market, bars = data.history.markets[data.symbol], data.history.series(SeriesKey(data.symbol, config.bars))
    rows = dates.select(bars, market)
    end, seen = bars.end[rows], levels(bars)
    none, nothing = np.empty(0, np.int64), np.empty(0)
    return Course(
        capital=config.capital, metrics={}, end=end, day=market.session.dates(end, bars.timeframe),
        equity=np.full(end.size, float(config.capital)), position=np.zeros(end.size),
        held_over=np.zeros(end.size), close=seen.close[rows], opening=float(seen.open[rows][0]),
        points=in_points(bars),
        entry=none, exit=none, pnl=nothing, held=nothing,
    )  # fmt: skip


def _managed_out(longer: Course, boundary: int) -> Course:
    """Return a course up to the session in which the position open at `boundary` (UTC ns) is closed."""
    mine = longer.entry <= boundary
    exits = longer.exit[mine]
    open_still = not exits.size or not exits[-1]
    size = longer.end.size if open_still else int(np.searchsorted(longer.end, exits[-1], side="right"))
    last = int(np.searchsorted(longer.day, longer.day[size - 1], side="right"))
    # It may have entered again in the same session; that trade belongs to nobody.
    equity, position = longer.equity[:last].copy(), longer.position[:last].copy()
    held_over = longer.held_over[:last].copy()
    equity[size:], position[size:], held_over[size:] = equity[size - 1], 0.0, 0.0
    return replace(
        longer, metrics={},
        end=longer.end[:last], day=longer.day[:last], equity=equity, position=position,
        held_over=held_over, close=longer.close[:last],
        entry=longer.entry[mine], exit=exits, pnl=longer.pnl[mine], held=longer.held[mine],
    )  # fmt: skip


def _account(traded: Sequence[tuple[Leg, Course]], data: Data) -> SymbolAccount:
    legs, courses = [leg for leg, _ in traded], [course for _, course in traded]
    capital = courses[0].capital
    before = list(itertools.accumulate((_profit(each)[-1] for each in courses), initial=0.0))
    equity = np.concatenate(
        [capital + start + _profit(each) for start, each in zip(before, courses, strict=False)]
    )
    day = np.concatenate([each.day for each in courses]).astype("datetime64[D]")
    apart = len(_stretches(legs)) > 1
    # What lies between two stretches is no time of the account: its years are then its sessions.
    session = day.astype(np.int64) if apart else day
    if len(courses) == 1 and courses[0].metrics:
        metrics, equity = courses[0].metrics, courses[0].equity
    else:
        metrics = _measures(courses, equity, session, data)
    metrics = {**metrics, **timing_measures(courses, session, data)}
    return SymbolAccount(
        symbol=data.symbol,
        legs=tuple(legs),
        metrics={name: float(metrics.get(name, math.nan)) for name in (*METRICS, *TIMING)},
        capital=capital,
        days=np.unique(day),
        equity=session_equity(equity, session),
    )


def timing_measures(
    courses: Sequence[Course], session: Dates | NDArray[np.int64], data: Data
) -> dict[str, float]:
    """Return the measures `TIMING` of an account; `session` (n,) as for `metrics.summary`."""
    residual, beta = timing_residual(courses, data)
    scale = time_scale(session, residual.size, _per_year(data))
    ratio = sharpe(residual, scale.periods_per_year)
    # Undefined where nothing is left; skew and kurtosis then are, too.
    sample = None if math.isnan(ratio) else SharpeSample.of(residual)
    p_value = math.nan if sample is None else 1.0 - probabilistic_sharpe(sample)
    return {"timing_sharpe": ratio, "timing_p": p_value, "beta": beta}


def timing_residual(courses: Sequence[Course], data: Data) -> tuple[Floats, float]:
    """Return what an account's session returns have beyond a constant position, float64 (S,), and its size.

    r - beta m: m what one unit of exposure to the instrument earned in the session, beta the mean signed
    exposure over all bars, in units of capital. A market that only drifts leaves a mean of zero. The same as
    the sweep's, see `SweepResult`; each course begins with what its first bar opened at.
    """
    unit, capital = data.history.markets[data.symbol].instrument.multiplier, courses[0].capital
    market, returns, exposure = [], [], []
    for each in courses:
        lasts = np.flatnonzero(np.append(each.day[1:] != each.day[:-1], True))
        market.append(market_returns(each.close[lasts], each.opening, each.points))
        returns.append(np.diff(each.equity[lasts], prepend=each.capital) / capital)
        exposure.append(each.held_over * unit / capital * (1.0 if each.points else each.close))
    beta = float(np.concatenate(exposure).mean())
    return timing_returns(np.concatenate(returns), np.concatenate(market), beta), beta


def _profit(course: Course) -> Floats:
    profit: Floats = course.equity - course.capital
    return profit


def _measures(
    courses: Sequence[Course], equity: Floats, session: Dates | NDArray[np.int64], data: Data
) -> Mapping[str, float]:
    closed = [each.exit > 0 for each in courses]
    return summary(
        equity=equity,
        session=session,
        trade_pnl=np.concatenate([each.pnl[mask] for each, mask in zip(courses, closed, strict=True)]),
        trade_bars_held=np.concatenate([each.held[mask] for each, mask in zip(courses, closed, strict=True)]),
        position=np.concatenate([each.position for each in courses]),
        traded_notional=math.nan,
        capital=courses[0].capital,
        sessions_per_year=_per_year(data),
    )


def _per_year(data: Data) -> float:
    return float(data.history.markets[data.symbol].session.template.sessions_per_year)
