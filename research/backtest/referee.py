"""The referee: where the records of the compiled engine and those of Backtrader part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from research.backtest.records import Column, RecordColumns, RunRecords, TextCodes, dense

_MARKS = ("close", "position", "cash", "equity")
_AT_ENTRY = ("symbol", "decision", "quantity", "entry_stamp", "entry_price", "probability")


class Difference(NamedTuple):
    """One value that differs: when (UTC ns), what, and how the two engines have it."""

    stamp: int
    what: str
    compiled: object
    referee: object

    @property
    def when(self) -> str:
        """The end of its bar, UTC, to the minute."""
        return f"{np.datetime_as_string(np.datetime64(self.stamp, 'ns'), unit='m')}Z".replace("T", " ")

    def __str__(self) -> str:
        return (
            f"the engines part at the bar that ended at {self.when}: {self.what} is "
            f"{_shown(self.compiled)} in the compiled one, {_shown(self.referee)} in Backtrader"
        )


def _shown(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def first_difference(compiled: RunRecords, referee: RunRecords, ids: Sequence[str]) -> str:
    """Return the first difference in time between two runs, empty where every bit is equal.

    ids   of the decision vectors. References of orders are compared as counted from the first one
    """
    if compiled.stamps.tobytes() != referee.stamps.tobytes():
        return f"the engines saw {len(compiled):,} and {len(referee):,} bars"
    return earliest(differences(compiled, referee, ids))


def earliest(found: Iterable[Difference]) -> str:
    """Return the first difference in time, of one bar's the one that is written down first; "" for none."""
    return str(min(found, key=lambda each: each.stamp, default=""))


def differences(compiled: RunRecords, referee: RunRecords, ids: Sequence[str]) -> Iterator[Difference]:
    """Yield the first difference in each kind of record; see `first_difference`."""
    yield from chain(
        _per_bar(compiled, referee, ids), _per_order(compiled, referee), _per_trade(compiled, referee)
    )


def first_in_column(what: str, one: Column, other: Column, stamps: NDArray[np.int64]) -> Iterator[Difference]:
    """Yield the first row at which two columns differ in any bit, of those that both have."""
    count = min(len(one), len(other))
    if isinstance(one, TextCodes) and isinstance(other, TextCodes):
        there = {name: place for place, name in enumerate(other.names)}
        place = np.array([there.get(name, -1) for name in one.names], dtype=np.int64)
        rows = np.flatnonzero(place[one.codes[:count]] != other.codes[:count])
        shown = [column.names[column.codes[rows[0]]] for column in (one, other)] if rows.size else []
    else:
        mine, theirs = np.asarray(one)[:count], np.asarray(other)[:count]
        rows = np.flatnonzero(_bits(mine) != _bits(theirs))
        shown = [column[rows[0]].item() for column in (mine, theirs)] if rows.size else []
    if rows.size:
        yield Difference(int(stamps[rows[0]]), what, *shown)


def _per_bar(compiled: RunRecords, referee: RunRecords, ids: Sequence[str]) -> Iterator[Difference]:
    pairs: list[tuple[str, Column, Column]] = [
        (name, compiled.vectors[:, column], referee.vectors[:, column]) for column, name in enumerate(ids)
    ]
    pairs += [
        ("the probability", compiled.probabilities, referee.probabilities),
        ("the decision", compiled.reason, referee.reason),
        ("the code of the decision", compiled.codes, referee.codes),
    ]
    for name, one, other in pairs:
        yield from first_in_column(name, one, other, compiled.stamps)
    for column, name in enumerate(_MARKS):
        yield from first_in_column(
            f"the {name}", compiled.marks[:, column], referee.marks[:, column], compiled.stamps
        )


def _per_order(compiled: RunRecords, referee: RunRecords) -> Iterator[Difference]:
    one, other = compiled.orders, referee.orders
    stamps = _earlier(one, other, "stamp")
    for name in one.columns:
        mine, theirs = one.columns[name], other.columns[name]
        if name == "reference":
            mine, theirs = dense(one[name]), dense(other[name])
        yield from first_in_column(f"the {name} of an order", mine, theirs, stamps)
    yield from _left_over("an order", one, other, "stamp")


def _per_trade(compiled: RunRecords, referee: RunRecords) -> Iterator[Difference]:
    one, other = compiled.trades, referee.trades
    entered = _earlier(one, other, "entry_stamp")
    # What a trade lacks while it is open is written at its exit, in whichever run it has one.
    count = entered.size
    left = np.maximum(np.maximum(one["exit_stamp"][:count], other["exit_stamp"][:count]), entered)
    for name in one.columns:
        stamps = entered if name in _AT_ENTRY else left
        yield from first_in_column(f"the {name} of a trade", one.columns[name], other.columns[name], stamps)
    yield from _left_over("a trade", one, other, "entry_stamp")


def _left_over(
    what: str, one: RecordColumns[Any], other: RecordColumns[Any], name: str
) -> Iterator[Difference]:
    """Yield the first record that only one of the runs has."""
    count = min(len(one), len(other))
    if len(one) != len(other):
        more = one if len(one) > count else other
        has = ("there", "not there") if more is one else ("not there", "there")
        yield Difference(int(more[name][count]), what, *has)


def _bits(column: NDArray[Any]) -> NDArray[Any]:
    if column.dtype == np.bool_:
        return column
    bits: NDArray[np.int64] = np.ascontiguousarray(column).view(np.int64)
    return bits


def _earlier(one: RecordColumns[Any], other: RecordColumns[Any], name: str) -> NDArray[np.int64]:
    count = min(len(one), len(other))
    return np.asarray(np.minimum(one[name][:count], other[name][:count]))
