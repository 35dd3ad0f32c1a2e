"""`lockstep candidates performance`: what strategies earned by day, week and month."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from lockstep.errors import ConfigError
from lockstep.settings import suggestion
from lockstep.tables import TextTable, number
from research.ledger.database import Database
from research.ledger.ledger import Ledger
from research.ledger.performance import MODES, PERIODS, MeasuredStrategy, PeriodRow, read

_UNDEFINED = "–"


def show_performance(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Whose; empty: everybody's.")] = "",
    mode: Annotated[str, typer.Option(help="backtest, shadow, paper or live; empty: all.")] = "",
    period: Annotated[str, typer.Option(help="day, week or month.")] = "month",
    newest: Annotated[int, typer.Option(min=1, help="How many periods of each at most.")] = 12,
) -> None:
    """Show what strategies earned in complete periods, as it was first written down."""
    _require("--mode", mode, ("", *MODES))
    _require("--period", period, PERIODS)
    ledger = Ledger(Database.open())
    wanted = {"name": name, "mode": mode, "period": period}
    found = read(ledger, **{key: value for key, value in wanted.items() if value})
    if not found:
        there = sorted({each.subject.name for each in read(ledger)})
        known = f"there is {', '.join(there[:8])}" if there else "nothing is stored yet"
        asked = " ".join(value for value in wanted.values() if value)
        raise ConfigError(
            f"performance {asked}: no complete period; {known}; `lockstep candidates update` stores what is "
            "over"
        )
    for table in performance_tables(found, newest):
        Console().print(table)


def _require(option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        named = [each for each in known if each]
        raise ConfigError(f"{option} {value}: must be {', '.join(named)}{suggestion(value, named)}")


def performance_tables(rows: Sequence[PeriodRow], newest: int = 0) -> list[TextTable]:
    """Return a table per account and length of period, each row a period.

    newest   how many of each at most; 0: all
    """
    accounts: dict[tuple[MeasuredStrategy, str], list[PeriodRow]] = {}
    for each in rows:
        accounts.setdefault((each.subject, each.period), []).append(each)
    return [_table(whose, mine[-newest:]) for (whose, _), mine in accounts.items()]


def _table(whose: MeasuredStrategy, rows: Sequence[PeriodRow]) -> TextTable:
    numbers = ("sessions", "trades", "P&L", "result", "Sharpe", "drawdown", "winning")
    title = f"{whose.name}: {whose.symbol}, {whose.mode}, {whose.account}"
    table = TextTable(rows[0].period, *(number(each) for each in numbers), title=title)
    for each in rows:
        table.add_row(
            _period(each), f"{each.sessions:,}", f"{each.trades:,}", f"{each.pnl:,.0f}",
            f"{each.result:+.2%}", _number(each.sharpe, ".2f"), f"{each.drawdown:.2%}",
            _number(each.win_rate, ".0%"),
        )  # fmt: skip
    return table


def _period(each: PeriodRow) -> str:
    forms = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}
    return f"{each.first_date:{forms[each.period]}}"


def _number(value: float, form: str) -> str:
    return _UNDEFINED if math.isnan(value) else format(value, form)
