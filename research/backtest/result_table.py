"""The result table that the command line prints."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lockstep.tables import TextTable, number
from research.backtest.result import BacktestResult

_COLUMNS = (
    ("trades", "trades", "{:,.0f}"),
    ("P&L", "net_profit", "{:,.0f}"),
    ("CAGR", "cagr", "{:.1%}"),
    ("Sharpe", "sharpe", "{:.2f}"),
    ("DD", "max_drawdown_fraction", "{:.1%}"),
    ("wins", "win_rate", "{:.1%}"),
    ("PF", "profit_factor", "{:.2f}"),
    ("held", "exposure", "{:.0%}"),
)


def result_table(results: Sequence[BacktestResult]) -> TextTable:
    """Return one row per run: symbol, years, the main measures and the costs paid, amounts in USD."""
    titles = (*(title for title, _, _ in _COLUMNS), "costs")
    table = TextTable(
        "symbol", "years", *map(number, titles), title=results[0].config.name if results else ""
    )
    for result in results:
        dates = result.equity["session_date"]
        costs = result.trades["commission"].sum() + result.trades["slippage_cost"].sum()
        table.add_row(
            result.label,
            f"{dates.iloc[0]:%Y}-{dates.iloc[-1]:%Y}",
            *(_spelled(form, result.metrics[name]) for _, name, form in _COLUMNS),
            f"{costs:,.0f}",
        )
    return table


def _spelled(form: str, value: float) -> str:
    return form.format(value) if math.isfinite(value) else "–"
