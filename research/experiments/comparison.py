"""Two strategies side by side, in Backtrader, on the same bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeAlias

import numpy as np

from lockstep.market.dates import DateRange, Day
from lockstep.market.history import SeriesKey
from lockstep.market.loader import load_history
from lockstep.metrics import calendar_years, correlation, curve_from, period_returns, session_equity
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import load_strategy
from research.backtest.result import BacktestResult
from research.backtest.run import context_keys, run_backtest
from research.experiments.declaration import space_of_one
from research.experiments.evaluation import data_hash, trial_code
from research.experiments.execution import Lab
from research.experiments.variants import evaluation_id
from research.ledger.doors import open_door
from research.ledger.ledger import Trials
from research.ledger.spaces import COMPARE
from research.ledger.tables import OK
from research.ledger.versions import TradedVersion, VersionName
from research.statistics.bootstrap import Interval, confidence_interval

MEASURES = (
    "trades", "net_profit", "cagr", "sharpe", "sortino", "calmar", "max_drawdown_fraction", "win_rate",
    "profit_factor", "exposure", "turnover",
)  # fmt: skip


Compared: TypeAlias = StrategyConfig | Path | VersionName
"""What can be compared: a configuration, the path of a YAML file, the name of a version."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StrategyComparison:
    """Two runs on one symbol.

    difference   yearly return of the second over the first, fraction of capital, with a 95 % interval by the
                 stationary bootstrap of paired sessions; None for fewer than 8 sessions
    correlation  of their session returns, nan where one does not vary
    looks        lines to print: looks at sealed dates, and markets that are alike
    """

    symbol: str
    first: BacktestResult
    second: BacktestResult
    difference: Interval | None
    correlation: float
    looks: tuple[str, ...] = ()


def compare(
    lab: Lab,
    strategies: tuple[Compared, Compared],
    symbol: str,
    *,
    start: Day,
    end: Day,
    data_dir: Path | None,
    source: str | None,
) -> StrategyComparison:
    """Run both strategies, count both trials, and measure their difference.

    strategies   configurations, YAML files or versions; a version is its strategy with its veto. Where there
                 is one, bars are those of its training unless others are named. A look at sealed dates is
                 counted
    """
    span, results = DateRange.of(start, end), []
    looks: list[str] = []
    versions = {each: each.load(symbol) for each in strategies if isinstance(each, VersionName)}
    for traded in versions.values():
        data_dir, source = traded.record.bars(data_dir, source)
    for each in strategies:
        version = versions[each] if isinstance(each, VersionName) else None
        config = _config(each, versions)
        veto = None if version is None else version.veto
        history = load_history(
            symbol, data_dir, timeframe=config.bars, end=end, book=lab.book, source=source,
            context=context_keys(config, lab.book.markets, symbol, veto=veto),
        )  # fmt: skip
        looks.extend(
            open_door(
                lab.ledger, history, SeriesKey(symbol, config.bars), span,
                purpose=f"comparison of {config.name}", now=lab.now(), families=lab.families,
            )
            if version is None
            else version.count_look(history, span, lab.ledger, now=lab.now())
        )  # fmt: skip
        model = None if version is None else version.origin
        sha256 = None if model is None else model["sha256"]
        space = space_of_one(config, symbol, span, proposer=COMPARE, model=sha256)
        lab.ledger.declare(space, lab.family(symbol), span, now=lab.now())
        result = run_backtest(config, history, symbol, span=span, veto=veto, model=model)
        _count(lab, result, data_hash(history, symbol))
        results.append(result)
    first, second = results
    return StrategyComparison(
        symbol=symbol,
        first=first,
        second=second,
        difference=_difference(first, second),
        correlation=_correlation(first, second),
        looks=tuple(dict.fromkeys(looks)),
    )


def _config(each: Compared, versions: Mapping[VersionName, TradedVersion]) -> StrategyConfig:
    if isinstance(each, VersionName):
        return versions[each].config
    return load_strategy(each) if isinstance(each, Path) else each


def _count(lab: Lab, result: BacktestResult, data: str) -> None:
    days: Sequence[date] = [each.date() for each in result.equity["session_date"].iloc[[0, -1]]]
    dates = DateRange(start=days[0], end=days[-1])
    where = "\n".join((trial_code(result.config.feature_ids), result.symbol, data, str(dates)))
    if result.model is not None:
        where += f"\n{result.model['sha256']}"
    evaluation = evaluation_id(where, result.config.config_hash)
    lab.ledger.record(
        Trials(
            family=lab.family(result.symbol),
            symbol=result.symbol,
            dates=dates,
            kind=COMPARE,
            evaluations={evaluation: OK},
        ),
        now=lab.now(),
    )


def _returns(result: BacktestResult) -> np.ndarray:
    equity = result.equity
    session = equity["session_date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    curve = session_equity(equity["equity"].to_numpy(), session)
    return period_returns(curve_from(result.config.capital, curve), result.config.capital)


def _difference(first: BacktestResult, second: BacktestResult) -> Interval | None:
    one, other = _returns(first), _returns(second)
    if one.size != other.size or one.size < 8 or not np.ptp(other - one):
        return None
    sessions = first.equity["session_date"].to_numpy().astype("datetime64[D]")
    per_year = one.size / calendar_years(sessions, first.sessions_per_year)
    return confidence_interval(other - one, lambda values: float(values.mean()) * per_year)


def _correlation(first: BacktestResult, second: BacktestResult) -> float:
    one, other = _returns(first), _returns(second)
    return correlation(one, other) if one.size == other.size else float("nan")
