"""What an engine wrote down in a run, as columns: millions of bars fit in memory, and frames need no loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, NamedTuple, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.errors import StrategyError
from lockstep.market.bars import Flags, Floats, Stamps
from lockstep.portfolio.state import ProposalRecord
from lockstep.strategy.records import MemoryRecorder, OrderRecord, TradeRecord

Row = TypeVar("Row", OrderRecord, TradeRecord)

_DTYPES = {"int": np.int64, "float": np.float64}


@dataclass(frozen=True, eq=False)
class TextCodes:
    """A column of n texts, most of them alike.

    codes   integers (n,), each a row of `names`
    names   the texts that may occur

    >>> column = TextCodes.of(["hold", "signal", "hold"])
    >>> column.codes.tolist(), column.names, column.texts()
    ([0, 1, 0], ('hold', 'signal'), ['hold', 'signal', 'hold'])
    """

    codes: NDArray[np.integer[Any]]
    names: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Return the column of the given texts; names in the order in which they first occur."""
        known: dict[str, int] = {}
        codes = [known.setdefault(text, len(known)) for text in texts]
        return cls(np.array(codes, dtype=np.int32), tuple(known))

    def __len__(self) -> int:
        return len(self.codes)

    def texts(self) -> list[str]:
        """Return the texts, one Python string for each name."""
        return [self.names[code] for code in self.codes.tolist()]

    def array(self) -> pd.api.extensions.ExtensionArray:
        """Return the texts as pandas has them, without a Python string for each."""
        return pd.array(list(self.names), dtype="str").take(self.codes)


Column = NDArray[Any] | TextCodes


@dataclass(frozen=True, eq=False)
class RecordColumns(Generic[Row]):
    """Records of one kind, a column for each field: int64, float64 or `TextCodes`, all (n,).

    Iterating makes the records themselves. StrategyError where a field lacks, or columns differ in length.

    >>> from lockstep.strategy.records import TradeRecord
    >>> trade = TradeRecord(symbol="ES", decision=1, quantity=2.0, entry_stamp=2, entry_price=10.0,
    ...                     probability=1.0, commission=0.0, slippage=0.0)
    >>> columns = RecordColumns.of(TradeRecord, [trade])
    >>> len(columns), columns["quantity"].tolist(), list(columns)[0].symbol
    (1, [2.0], 'ES')
    """

    kind: type[Row]
    columns: Mapping[str, Column]

    def __post_init__(self) -> None:
        names = [each.name for each in fields(self.kind)]
        if sorted(self.columns) != sorted(names):
            raise StrategyError(
                f"columns of {self.kind.__name__}: {', '.join(self.columns)}; need {', '.join(names)}"
            )
        if len({len(column) for column in self.columns.values()}) > 1:
            raise StrategyError(
                f"columns of {self.kind.__name__}: differ in length; each needs one row a record"
            )

    @classmethod
    def of(cls, kind: type[Row], rows: Sequence[Row]) -> Self:
        """Return the columns of the given records."""
        return cls(kind, {each.name: _column(each, rows) for each in fields(kind)})

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column of numbers."""
        column = self.columns[name]
        if isinstance(column, TextCodes):
            raise StrategyError(f"{self.kind.__name__}.{name}: is text; ask for it with text({name!r})")
        return column

    def text(self, name: str) -> TextCodes:
        """Return a column of text."""
        column = self.columns[name]
        if not isinstance(column, TextCodes):
            raise StrategyError(f"{self.kind.__name__}.{name}: is numbers; ask for it with [{name!r}]")
        return column

    def __iter__(self) -> Iterator[Row]:
        names = [each.name for each in fields(self.kind)]
        values = (
            column.texts() if isinstance(column, TextCodes) else column.tolist()
            for column in (self.columns[name] for name in names)
        )
        for row in zip(*values, strict=True):
            yield self.kind(**dict(zip(names, row, strict=True)))


def _column(field: Any, rows: Sequence[Any]) -> Column:
    values = [getattr(row, field.name) for row in rows]
    return TextCodes.of(values) if field.type == "str" else np.array(values, dtype=_DTYPES[field.type])


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRecords:
    """All that an engine reports of n bars with vectors of k values; one row for each traded bar.

    stamps          int64 (n,): ends of the bars, UTC ns
    vectors         float64 (n, k): as frozen at each decision, NaN where missing
    probabilities   float64 (n,): of the model, NaN where it was not asked
    codes           int64 (n,): decisions, see `lockstep.strategy.decision`
    reasons         integers (n,): the decisions in words, each a row of `reason_names`
    marks           float64 (n, 4): close, position, cash, equity; see `CLOSE` to `EQUITY`
    orders, trades  in the order in which they were reported

    StrategyError where one of them has another number of rows.
    """

    stamps: NDArray[np.int64]
    vectors: Floats
    probabilities: Floats
    codes: NDArray[np.int64]
    reasons: NDArray[np.integer[Any]]
    reason_names: tuple[str, ...]
    marks: Floats
    orders: RecordColumns[OrderRecord]
    trades: RecordColumns[TradeRecord]

    def __post_init__(self) -> None:
        for name in ("vectors", "probabilities", "codes", "reasons", "marks"):
            if len(getattr(self, name)) != len(self.stamps):
                raise StrategyError(
                    f"records of a run: {len(getattr(self, name)):,} {name} for {len(self.stamps):,} bars"
                )

    @classmethod
    def of(cls, recorder: MemoryRecorder) -> Self:
        """Return what a finished run left in memory; StrategyError where a bar was not marked."""
        stamps, bars = np.array(recorder.stamps, dtype=np.int64), len(recorder.stamps)
        marked = [mark[0] for mark in recorder.marks]
        if marked != recorder.stamps:
            raise StrategyError(f"records of a run: {len(marked):,} marks for decisions at {bars:,} bars")
        reasons = TextCodes.of(recorder.reasons)
        return cls(
            stamps=stamps,
            vectors=np.array(recorder.vectors, dtype=np.float64).reshape(bars, -1 if bars else 0),
            probabilities=np.array(recorder.probabilities, dtype=np.float64),
            codes=np.array(recorder.codes, dtype=np.int64),
            reasons=reasons.codes,
            reason_names=reasons.names,
            marks=np.array([mark[1:] for mark in recorder.marks], dtype=np.float64).reshape(bars, 4),
            orders=RecordColumns.of(OrderRecord, recorder.orders),
            trades=RecordColumns.of(TradeRecord, recorder.trades),
        )

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def reason(self) -> TextCodes:
        """The decisions in words."""
        return TextCodes(self.reasons, self.reason_names)


CLOSE, POSITION, CASH, EQUITY = range(4)


def dense(references: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return references, int64 (n,), counted from 1 without gaps; equal ones stay equal.

    >>> dense(np.array([7, 9, 7, 12])).tolist()
    [1, 2, 1, 3]
    """
    return np.unique(references, return_inverse=True)[1].astype(np.int64) + 1


FilledRow = tuple[int, float, float]
"""One fill: end of its bar, UTC ns; signed contracts; price, points."""


def fills_of(trades: Iterable[TradeRecord]) -> list[FilledRow]:
    """Return the fills of trades, entry and exit, in the order of time."""
    found: list[FilledRow] = []
    for each in trades:
        found.append((each.entry_stamp, each.quantity, each.entry_price))
        if each.exit_stamp:
            found.append((each.exit_stamp, -each.quantity, each.exit_price))
    return found


class SetMarks(NamedTuple):
    """A portfolio's account after each of S bar sets, columns (S,).

    stamp             end, UTC ns; day: of the portfolio's calendar, days since 1970
    equity            USD; drawdown: fraction of the capital; scale: what new sizes are multiplied by
    stopped, halted   whether a day's loss, a drawdown have ended entries
    """

    stamp: Stamps
    day: Stamps
    equity: Floats
    drawdown: Floats
    scale: Floats
    stopped: Flags
    halted: Flags


@dataclass(frozen=True, kw_only=True, eq=False)
class PortfolioRecords:
    """All that an engine reports of a portfolio.

    proposals   in the order in which they were answered
    fills       of each lane, by symbol, as the account has them; lanes: as of single runs
    """

    marks: SetMarks
    proposals: Sequence[ProposalRecord]
    fills: Mapping[str, Sequence[FilledRow]]
    lanes: Mapping[str, RunRecords]
