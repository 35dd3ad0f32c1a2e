"""Names, formats and conventions of the measures that a tear sheet prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from research.report.page import TIMES, count, percent, ratio, usd

Value = float | int | None


@dataclass(frozen=True)
class Measure:
    """A measure by its name in `lockstep.metrics.Performance`."""

    key: str
    label: str
    write: Callable[[Value], str]
    note: str


def _fine_percent(value: Value) -> str:
    return percent(value, 2)


def _signed_loss(value: Value) -> str:
    return usd(None if value is None else -value)


GROUPS: tuple[tuple[str, tuple[Measure, ...]], ...] = (
    (
        "Return",
        (
            Measure("net_profit", "Net profit", usd, "after commission and slippage"),
            Measure("total_return", "Total return", percent, "net profit / capital"),
            Measure("annual_return", "Annual return", percent, "total return / calendar years"),
            Measure("cagr", "CAGR", percent, "growth of the account per calendar year"),
            Measure("volatility", "Volatility", percent, "session returns, ddof 1, annualised"),
            Measure("best_session", "Best session", _fine_percent, "of capital"),
            Measure("worst_session", "Worst session", _fine_percent, "of capital"),
            Measure("skew", "Skew", ratio, "population, session returns"),
            Measure("kurtosis", "Kurtosis", ratio, "population; normal = 3"),
            Measure("tail_ratio", "Tail ratio", ratio, "95% quantile / loss at the 5% quantile"),
            Measure("omega", "Omega", ratio, "sum of gains / sum of losses, session returns"),
        ),
    ),
    (
        "Risk",
        (
            Measure("sharpe", "Sharpe", ratio, "session returns, ddof 1, annualised"),
            Measure("sharpe_session", "Sharpe per session", lambda value: ratio(value, 4), "not annualised"),
            Measure("sortino", "Sortino", ratio, "target 0, all sessions, annualised"),
            Measure("calmar", "Calmar", ratio, "CAGR / greatest drawdown fraction"),
            Measure("max_drawdown", "Max drawdown", _signed_loss, "at bar closes"),
            Measure(
                "max_drawdown_fraction", "Max drawdown, of peak", percent, "greatest fraction of its peak"
            ),
            Measure(
                "max_drawdown_sessions", "Max drawdown, sessions", count, "peak to recovery, or to the end"
            ),
            Measure(
                "longest_drawdown_sessions", "Longest under water", count, "sessions below a former high"
            ),
            Measure("ulcer_index", "Ulcer index", percent, "root mean square drawdown, of peak"),
            Measure("recovery_factor", "Recovery factor", ratio, "net profit / max drawdown"),
            Measure("var_95", "VaR 95", _fine_percent, "historical, per session, loss > 0"),
            Measure("cvar_95", "CVaR 95", _fine_percent, "mean of the worst 5%"),
            Measure("var_99", "VaR 99", _fine_percent, "historical, per session, loss > 0"),
            Measure("cvar_99", "CVaR 99", _fine_percent, "mean of the worst 1%"),
        ),
    ),
    (
        "Trades",
        (
            Measure("trades", "Closed trades", count, "from flat to flat"),
            Measure("win_rate", "Win rate", percent, "net result above zero"),
            Measure("profit_factor", "Profit factor", ratio, "gains / losses"),
            Measure("expectancy", "Expectancy", usd, "mean net result per trade"),
            Measure("average_win", "Average win", usd, ""),
            Measure("average_loss", "Average loss", usd, ""),
            Measure("payoff_ratio", "Payoff ratio", ratio, "average win / average loss"),
            Measure("average_bars_held", "Average holding", lambda value: ratio(value, 1), "bars"),
            Measure("exposure", "Exposure", percent, "bars with a position at the close"),
            Measure(
                "turnover", "Turnover", lambda value: ratio(value, 1), f"{TIMES} capital per year, both sides"
            ),
            Measure("years", "Years", ratio, "first to last date, of 365.25 days"),
            Measure("sessions", "Sessions", count, ""),
            Measure("bars", "Bars", count, ""),
        ),
    ),
)

_KNOWN = frozenset(measure.key for _, group in GROUPS for measure in group)


def unnamed(values: Mapping[str, Value]) -> tuple[Measure, ...]:
    """Return measures that a report carries and that have no name here, so that none is dropped."""
    return tuple(
        Measure(key, key.replace("_", " "), lambda value: ratio(value, 4), "")
        for key in values
        if key not in _KNOWN
    )
