"""The table of checked series. It is only ever added to, see `append_only.py`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Double, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from research.ledger.tables import Base


class QualityRow(Base):
    """What a check of a series found, and by which hashes its bars are known again.

    series    "ES:1min"; file   its name, without a folder; bars, first, last   as of `HistoryDigest`
    score     0 … 100; warnings   how many findings may make results wrong
    content   JSON: findings (kind, severity, where, count, sentence), hashes of months, what was revised
    """

    __tablename__ = "quality_check"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    series: Mapped[str] = mapped_column(String(64))
    file: Mapped[str] = mapped_column(Text)
    bars: Mapped[int] = mapped_column(BigInteger)
    first: Mapped[int] = mapped_column(BigInteger)
    last: Mapped[int] = mapped_column(BigInteger)
    score: Mapped[float] = mapped_column(Double)
    warnings: Mapped[int] = mapped_column(Integer)
    content: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


Index("quality_check_by_series", QualityRow.series)
