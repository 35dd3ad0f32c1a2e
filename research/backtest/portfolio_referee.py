"""The referee of a portfolio: where Cerebro and the compiled twin part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from itertools import chain, zip_longest
from typing import Any

import numpy as np

from research.backtest.records import PortfolioRecords, fills_of
from research.backtest.referee import Difference, differences, earliest, first_in_column

_NOTHING = "nothing"
_MARKS = {
    "day": "the portfolio's day", "equity": "the portfolio's equity", "drawdown": "its drawdown",
    "scale": "its scale", "stopped": "its daily stop", "halted": "its halt",
}  # fmt: skip
_PROPOSAL = (
    "a proposal", "the lane that proposes", "its place", "its side", "its own size", "the scale",
    "what is admitted", "the rule that refuses", "the margin", "the equity of the set",
)  # fmt: skip


def first_portfolio_difference(
    compiled: PortfolioRecords, referee: PortfolioRecords, ids: Mapping[str, Sequence[str]]
) -> str:
    """Return the first difference in time, empty where every bit is equal.

    ids   of the decision vectors of the lanes, by symbol
    """
    lanes = (
        each._replace(what=f"{each.what} of {symbol}")
        for symbol in referee.lanes
        for each in differences(compiled.lanes[symbol], referee.lanes[symbol], ids[symbol])
    )
    return earliest(
        chain(
            _marks(compiled, referee),
            _first(_rows(compiled), _rows(referee), _PROPOSAL),
            _fills(compiled, referee.fills),
            lanes,
        )
    )


def own_difference(compiled: PortfolioRecords) -> str:
    """Return where the compiled account and the compiled lanes below it part, empty where nowhere."""
    own = {symbol: fills_of(each.trades) for symbol, each in compiled.lanes.items()}
    found = min(_fills(compiled, own), key=lambda each: each.stamp, default=None)
    if found is None:
        return ""
    return (
        f"the compiled engine contradicts itself at the bar that ended at {found.when}: {found.what} is "
        f"{found.compiled!r} in the account, {found.referee!r} in the lane"
    )


def _first(
    compiled: Sequence[tuple[Any, ...]], referee: Sequence[tuple[Any, ...]], names: Sequence[str]
) -> Iterator[Difference]:
    """Yield the first difference of two lists of rows that begin with their stamps; NaN equals NaN."""
    for mine, theirs in zip_longest(compiled, referee):
        if repr(mine) == repr(theirs):
            continue
        if mine is None or theirs is None or mine[0] != theirs[0]:
            stamp = min(each[0] for each in (mine, theirs) if each is not None)
            told = [_NOTHING if each is None or each[0] != stamp else each[1:] for each in (mine, theirs)]
            yield Difference(stamp, names[0], *told)
            return
        for name, one, other in zip(names[1:], mine[1:], theirs[1:], strict=True):
            if repr(one) != repr(other):
                yield Difference(mine[0], name, one, other)
                return


def _marks(compiled: PortfolioRecords, referee: PortfolioRecords) -> Iterator[Difference]:
    mine, theirs = compiled.marks, referee.marks
    if not np.array_equal(mine.stamp, theirs.stamp):
        stamp = np.setxor1d(mine.stamp, theirs.stamp)[0]
        has = [stamp in each.stamp for each in (mine, theirs)]
        yield Difference(int(stamp), "a bar set", *("there" if each else _NOTHING for each in has))
        return
    for name, what in _MARKS.items():
        yield from first_in_column(what, getattr(mine, name), getattr(theirs, name), mine.stamp)


def _rows(records: PortfolioRecords) -> list[tuple[Any, ...]]:
    """Return proposals as rows that begin with their stamps."""
    rows = map(astuple, records.proposals)
    return [(stamp, symbol, *rest) for symbol, stamp, *rest in rows]


def _fills(compiled: PortfolioRecords, referee: Mapping[str, Sequence[Any]]) -> Iterator[Difference]:
    for symbol, theirs in referee.items():
        names = [f"{what} of {symbol}" for what in ("a fill", "the size of a fill", "the price of a fill")]
        yield from _first(compiled.fills[symbol], theirs, names)
