"""The table of what strategies earned by day, week and month; only ever added to, see `append_only.py`."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Date, Double, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from research.ledger.tables import Base, Number


class PerformanceRow(Base):
    """What a strategy earned in one complete day, week or month, written once.

    strategy   `config_hash` of a strategy, SHA-256 of a bundle; name: what people call it
    mode       `backtest`, `shadow`, `paper`, `live`; account: which of several, such as a desk's name
    period     `day`, `week`, `month`, from `first_date` to `last_date`, its first and last session
    result     sum of the session results, fractions of the capital; pnl   USD
    sharpe, drawdown, win_rate   as in `lockstep.metrics`, NULL where undefined
    content    JSON: where the numbers come from
    """

    __tablename__ = "performance"
    __table_args__ = (
        UniqueConstraint(
            "strategy", "symbol", "mode", "account", "period", "first_date", name="performance_of_a_period"
        ),
    )

    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    strategy: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(Text)
    symbol: Mapped[str] = mapped_column(String(32))
    mode: Mapped[str] = mapped_column(String(16))
    account: Mapped[str] = mapped_column(String(64))
    period: Mapped[str] = mapped_column(String(8))
    first_date: Mapped[date] = mapped_column(Date)
    last_date: Mapped[date] = mapped_column(Date)
    sessions: Mapped[int] = mapped_column(Integer)
    trades: Mapped[int] = mapped_column(Integer)
    result: Mapped[float] = mapped_column(Double)
    pnl: Mapped[float] = mapped_column(Double)
    sharpe: Mapped[float | None] = mapped_column(Double)
    drawdown: Mapped[float | None] = mapped_column(Double)
    win_rate: Mapped[float | None] = mapped_column(Double)
    content: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))
