"""The replay at a restart: what the engine does again is compared with what it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from lockstep.errors import ReplayMismatch
from lockstep.features.blocks import BarBlock
from lockstep.live.events import Event
from lockstep.live.journal.rows import StoredSet
from lockstep.live.messages import LaneRecord, SetRecord
from lockstep.live.traded import Seat, released_sets
from lockstep.market.history import BarSet
from lockstep.monitoring.parity import (
    EngineStep,
    ParityDifference,
    settled_differences,
    step_differences,
)

STRETCH = 256
"""Entries of the journal that are computed for at once, at least one: few enough for objects to die young."""

Entry = tuple[StoredSet | Event, tuple[BarSet, ...]]


def rehearsed(entries: Iterator[StoredSet | Event], seats: Mapping[str, Seat]) -> Iterator[Entry]:
    """Yield the entries of an epoch, each bar set with what the windows of `seats` are to be pushed.

    What follows from bars alone, vectors and clock readings, is computed a stretch ahead, many times faster
    than set by set. A version that takes over within a stretch brings windows of its own, which take the rest
    set by set.
    """
    while stretch := list(islice(entries, STRETCH)):
        rows: list[Entry] = [
            (entry, released_sets(entry.release) if isinstance(entry, StoredSet) else ()) for entry in stretch
        ]
        block = BarBlock.of([bar_set for _, bar_sets in rows for bar_set in bar_sets])
        for seat in seats.values():
            seat.windows.prepare(block)
        for clock in {seat.lane.clock for seat in seats.values()}:
            clock.prepare(block.stamps)
        yield from rows


def step_of(record: LaneRecord, stamp: int, bar: tuple[float, ...] | None = None) -> EngineStep:
    """Return a journaled lane as a step of a comparison."""
    return EngineStep(
        symbol=record.symbol,
        stamp=stamp,
        bar=bar,
        vector=record.vector,
        probability=record.probability,
        code=record.code,
        reason=record.reason,
        orders=record.orders,
        mark=record.mark,
    )


def require_same(recorded: StoredSet, again: SetRecord, seats: dict[str, Seat]) -> None:
    """Raise ReplayMismatch with the first thing in which a set came out differently."""
    if recorded.tells(again):
        return
    difference = next(_differences(recorded.record, again, seats), None)
    if difference is not None:
        raise ReplayMismatch(difference)


def _differences(recorded: SetRecord, again: SetRecord, seats: dict[str, Seat]) -> Iterator[ParityDifference]:
    stamp = recorded.release.stamp
    before, now = ({lane.symbol: lane for lane in each.lanes} for each in (recorded, again))
    for symbol in sorted(before.keys() | now.keys()):
        first, second = before.get(symbol), now.get(symbol)
        if first is None or second is None:
            told = [str(each is not None) for each in (first, second)]
            yield ParityDifference(
                kind="decision", symbol=symbol, stamp=stamp, where="decided", first=told[0], second=told[1]
            )
            continue
        if first.bundle != second.bundle:
            yield ParityDifference(
                kind="bundle", symbol=symbol, stamp=stamp, where="bundle", first=first.bundle[:12],
                second=second.bundle[:12],
            )  # fmt: skip
        ids = seats[symbol].model.plan.ids
        yield from step_differences(step_of(first, stamp), step_of(second, stamp), ids)
        if repr(first.state) != repr(second.state):
            yield ParityDifference(
                kind="account", symbol=symbol, stamp=stamp, where="state", first=repr(first.state),
                second=repr(second.state),
            )  # fmt: skip
    yield from settled_differences(recorded.settled, again.settled, stamp)
