"""The referee of a portfolio: where Cerebro and the compiled twin part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from lockstep.portfolio import rules
from lockstep.strategy.admission import REFUSALS
from lockstep.strategy.records import MemoryRecorder
from research.backtest.referee import Difference
from research.sweep import portfolio_loop as twin
from research.sweep.portfolio import PortfolioGround, PortfolioTrace

_NOTHING = "nothing"


def first_portfolio_difference(
    ground: PortfolioGround,
    trace: PortfolioTrace,
    marked: Sequence[tuple[Any, ...]],
    proposals: Sequence[tuple[Any, ...]],
    recorders: Mapping[str, MemoryRecorder],
) -> str:
    """Return the first difference in time, empty where every bit is equal.

    trace       of the twin on `ground`; the others are of Cerebro
    marked      per set as of `Coordinator.marked`; proposals: fields of `ProposalRecord`, in their order
    recorders   of the lanes, by symbol
    """
    found = [
        *_marks(ground, trace, marked),
        *_proposals(ground, trace, proposals),
        *(each for symbol in ground.symbols for each in _fills(ground, trace, symbol, recorders[symbol])),
    ]
    return str(min(found, key=lambda each: each.stamp)) if found else ""


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


def _marks(
    ground: PortfolioGround, trace: PortfolioTrace, marked: Sequence[tuple[Any, ...]]
) -> Iterator[Difference]:
    names = ("a bar set", "the portfolio's equity", "its drawdown", "its daily stop", "its halt")
    states = trace.states[:, [rules.EQUITY, rules.DRAWDOWN, rules.STOPPED, rules.HALT]].tolist()
    mine = [
        (stamp, equity, drawdown, stopped != 0.0, halted != 0.0)
        for stamp, (equity, drawdown, stopped, halted) in zip(ground.stamps.tolist(), states, strict=True)
    ]
    theirs = [
        (stamp, equity, drawdown, stopped, halted)
        for stamp, _, equity, drawdown, _, stopped, halted in marked
    ]
    yield from _first(mine, theirs, names)


def _proposals(
    ground: PortfolioGround, trace: PortfolioTrace, proposals: Sequence[tuple[Any, ...]]
) -> Iterator[Difference]:
    names = (
        "a proposal", "the lane that proposes", "its place", "its side", "its own size", "the scale",
        "what is admitted", "the rule that refuses", "the margin", "the equity of the set",
    )  # fmt: skip
    stamps, equity = ground.stamps.tolist(), trace.states[:, rules.EQUITY].tolist()
    mine = [
        (stamps[int(s)], ground.symbols[int(lane)], int(place), side, base, scale, quantity,
         "" if rule == rules.ADMITTED else REFUSALS[int(rule)], margin, equity[int(s)])
        for s, place, lane, side, base, scale, quantity, rule, margin in trace.proposals.tolist()
    ]  # fmt: skip
    theirs = [
        (stamp, symbol, place, side, base, scale, quantity, rule, margin, total)
        for symbol, stamp, place, side, base, scale, quantity, rule, margin, total in proposals
    ]
    yield from _first(mine, theirs, names)


def _fills(
    ground: PortfolioGround, trace: PortfolioTrace, symbol: str, recorder: MemoryRecorder
) -> Iterator[Difference]:
    lane = ground.symbols.index(symbol)
    ends = ground.stamps[ground.rows[:, lane] >= 0].tolist()
    own = trace.fills[trace.fills[:, twin.F_LANE] == lane].tolist()
    mine = [(ends[int(bar)], size, price) for _, bar, size, price, _ in own]
    theirs: list[tuple[Any, ...]] = []
    for each in recorder.trades:
        theirs.append((each.entry_stamp, each.quantity, each.entry_price))
        if each.exit_stamp:
            theirs.append((each.exit_stamp, -each.quantity, each.exit_price))
    names = [f"{what} of {symbol}" for what in ("a fill", "the size of a fill", "the price of a fill")]
    yield from _first(mine, theirs, names)
