"""Experiments without waiting: an evaluator and an engine that agree, over invented returns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.errors import StrategyError
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.sessions import Dates
from lockstep.metrics import summary
from lockstep.strategy.families.ibs import IbsConfig
from research.backtest.run import run_backtest
from research.experiments.accounts import Course, timing_measures
from research.experiments.evaluation import Data
from research.experiments.execution import Lab
from research.experiments.plan import Plan
from research.ledger.database import Database
from research.ledger.tables import METRICS
from research.splits.ranges import Split
from research.statistics.maximum import sketch_of
from research.sweep.inputs import CalendarBlocks
from research.sweep.run import SweepResult

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "configs/strategies/baseline_v1.yaml"
GRID = ROOT / "configs/grids/baseline_grid.yaml"
SPLIT = Split.model_validate(
    {
        "train": ["2010-01-04", "2011-12-30"],
        "validation": ["2012-01-03", "2012-12-31"],
        "holdout": ["2013-01-02", "2013-12-31"],
    }
)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)

# Variants of this value fail in the toy engine, as one does that reads what is not there.
BROKEN = 7
# Variants from this value on have an edge in the toy engine that no gate would miss, at an entry of 0.2.
SKILLED = 100


def noon() -> datetime:
    return NOON


def plan(**changes: Any) -> Plan:
    """Return a plan of 3 x 2 variants on COMP."""
    content: dict[str, Any] = {
        "name": "trial",
        "strategy": IbsConfig.load(BASELINE),
        "symbols": ("COMP",),
        "parameters": {"entry.high": (0.1, 0.2, 0.3), "max_bars": (3, 5)},
        "split": SPLIT,
        **changes,
    }
    return Plan.model_validate(content)


def skilled(**changes: Any) -> Plan:
    """Return a plan within the law whose winner passes the gate with the limits that are shipped."""
    return plan(**{"parameters": {"entry.high": (0.1, 0.2, 0.3), "max_bars": (SKILLED,)}, **changes})


def toy_returns(config: IbsConfig, symbol: str, span: DateRange, sessions: int) -> NDArray[np.float64]:
    """Return session returns that depend on the configuration's rules, the symbol and the dates only."""
    text = f"{config.config_hash} {symbol} {span.start} {span.end}"
    seed = int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)
    # The text that limits of these tests were chosen with.
    dates = f"{symbol} Span(start={span.start!r}, end={span.end!r})"
    common = np.random.default_rng(int(hashlib.sha256(dates.encode()).hexdigest()[:12], 16))
    drift = 0.0006 * (1.0 - abs(config.entry[1] - 0.2))
    if (config.max_bars or 0) >= SKILLED:
        drift = 0.003 * (1.0 - 5.0 * abs(config.entry[1] - 0.2))
    own = np.random.default_rng(seed).normal(drift, 0.004, sessions)
    return own + common.normal(0.0, 0.006, sessions)


def toy_measures(config: IbsConfig, history: History, symbol: str, span: DateRange) -> dict[str, float]:
    if config.max_bars == BROKEN:
        raise StrategyError(f"{config.name}: max_bars {BROKEN} is broken here")
    bars = history.series(SeriesKey(symbol, config.bars))
    rows = span.select(bars, history.markets[symbol])
    returns = toy_returns(config, symbol, span, rows.stop - rows.start)
    equity = config.capital * (1.0 + np.cumsum(returns))
    found = summary(
        equity=equity,
        session=np.arange(returns.size),
        trade_pnl=returns[::5] * config.capital,
        trade_bars_held=np.ones(returns[::5].size),
        position=np.ones(returns.size),
        traded_notional=1.0,
        capital=config.capital,
    )
    return {name: float(value) for name, value in found.items()}


def toy_sweep(
    configs: Sequence[IbsConfig],
    history: History,
    symbol: str,
    *,
    span: DateRange | None = None,
    on_done: Any = None,
) -> SweepResult:
    """An evaluator of the sweep's form."""
    span = span or DateRange()
    rows = [toy_measures(config, history, symbol, span) for config in configs]
    returns = [
        toy_returns(config, symbol, span, int(row["sessions"]))
        for config, row in zip(configs, rows, strict=True)
    ]
    measures = {name: np.array([row[name] for row in rows]) for name in METRICS}
    result = _swept(measures, np.array(returns), _days(configs[0], history, symbol, span))
    if on_done is not None:
        on_done(range(len(configs)), result)
    return result


def toy_backtest(config: IbsConfig, data: Data, span: DateRange) -> Mapping[str, float]:
    """An engine that agrees with `toy_sweep`."""
    course = toy_course(config, data, span)
    return {**course.metrics, **timing_measures([course], course.day, data)}


def toy_course(config: IbsConfig, data: Data, span: DateRange) -> Course:
    """An engine that agrees with `toy_sweep`, bar by bar: it is flat after every bar."""
    bars, market = data.history.series(SeriesKey(data.symbol, config.bars)), data.history.markets[data.symbol]
    end = bars.end[span.select(bars, market)]
    returns = toy_returns(config, data.symbol, span, end.size)
    return Course(
        capital=config.capital,
        metrics=toy_measures(config, data.history, data.symbol, span),
        end=end,
        day=market.session.dates(end, config.bars),
        equity=config.capital * (1.0 + np.cumsum(returns)),
        position=np.zeros(end.size),
        held_over=np.zeros(end.size),
        close=np.ones(end.size),
        opening=1.0,
        points=False,
        entry=end[::5],
        exit=end[::5],
        pnl=returns[::5] * config.capital,
        held=np.ones(returns[::5].size),
    )


def toy_residuals(configs: Sequence[IbsConfig], data: Data, dates: DateRange) -> NDArray[np.float64]:
    """Returns of `toy_sweep` in full: nothing is held there, so that nothing is taken off."""
    bars = data.history.series(SeriesKey(data.symbol, configs[0].bars))
    rows = dates.select(bars, data.history.markets[data.symbol])
    sessions = rows.stop - rows.start
    return np.column_stack([toy_returns(each, data.symbol, dates, sessions) for each in configs])


def slow_sweep(
    configs: Sequence[IbsConfig],
    history: History,
    symbol: str,
    *,
    span: DateRange | None = None,
    on_done: Any = None,
) -> SweepResult:
    """The sweep's form over Backtrader, one configuration after the other: the slow, obvious one."""
    results = [run_backtest(config, history, symbol, span=span) for config in configs]
    returns = [
        result.equity["equity"].diff().fillna(0.0).to_numpy() / result.config.capital for result in results
    ]
    measures = {name: np.array([float(each.metrics[name]) for each in results]) for name in METRICS}
    return _swept(measures, np.array(returns), _days(configs[0], history, symbol, span or DateRange()))


def _days(config: IbsConfig, history: History, symbol: str, span: DateRange) -> Dates:
    bars, market = history.series(SeriesKey(symbol, config.bars)), history.markets[symbol]
    return market.session.dates(bars.end[span.select(bars, market)], config.bars)


def _swept(
    measures: dict[str, NDArray[np.float64]], returns: NDArray[np.float64], days: Dates
) -> SweepResult:
    """Return what a sweep says of returns (V, S) that are exposed to no instrument."""
    blocks = CalendarBlocks.of(days)
    parts = [returns[:, first:last] for first, last in pairwise(blocks.edges.tolist())]
    sums = [(part.sum(axis=1), (part**2).sum(axis=1), np.full(len(part), part.shape[1])) for part in parts]
    powers = [(returns**power).sum(axis=1) for power in (1, 2, 3, 4)]
    return SweepResult(
        metrics=measures,
        blocks=np.array(sums, dtype=np.float64).transpose(2, 0, 1),
        block_weeks=blocks.weeks,
        first_block=blocks.first,
        timing=np.stack([*powers, np.zeros(len(returns))], axis=1),
        sketch=sketch_of(returns, days),
        ones=sketch_of(np.ones((1, days.size)), days)[0],
    )


def toy_lab(database: Database, **changes: Any) -> Lab:
    """Return a lab over invented returns, where it is always noon."""
    return Lab(
        **{
            "database": database,
            "evaluator": toy_sweep,
            "backtest": toy_backtest,
            "engine": toy_course,
            "residuals": toy_residuals,
            "now": noon,
            **changes,
        }
    )
