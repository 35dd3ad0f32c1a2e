"""Rows out of the journal, in order and in pieces, so that memory does not grow with its length."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lockstep.live.journal.chain import Row
from lockstep.live.journal.rows import EpochRows, SetRows
from lockstep.live.journal.schema import PORTFOLIOS, select, version

_PIECE = 64


class Found(NamedTuple):
    """One entry: a bar set with the events that came with it, or an event of its own; neither is damage.

    entries   (sequence, hash) of the set and of the events, in order
    """

    sequence: int
    set: SetRows | None
    events: Sequence[Row]
    entries: Sequence[tuple[int, bytes]]


def epochs(connection: sqlite3.Connection, since: int = 1) -> Iterator[tuple[EpochRows, bytes]]:
    """Yield the rows of the epochs from number `since` on, each with its hash, oldest first."""
    heads = connection.execute(select("epochs", "WHERE number >= ? ORDER BY number"), (since,))
    for *head, stored in heads.fetchall():
        warmup = connection.execute(
            select("warmup", "WHERE epoch = ? ORDER BY symbol, timeframe, end"), head[:1]
        )
        states = connection.execute(select("states", "WHERE epoch = ? ORDER BY symbol"), head[:1])
        coordinators: list[Row] = []
        if _has_portfolios(connection):
            coordinators = connection.execute(select("coordinators", "WHERE epoch = ?"), head[:1]).fetchall()
        yield EpochRows(tuple(head), warmup.fetchall(), states.fetchall(), coordinators), stored


def _has_portfolios(connection: sqlite3.Connection) -> bool:
    """Return whether the journal is of a step that keeps what a portfolio decides."""
    return (version(connection) or 0) >= PORTFOLIOS


_HEADS = """
SELECT sequence FROM entries LEFT JOIN events USING (sequence)
WHERE sequence BETWEEN ? AND ? AND in_set IS NULL ORDER BY sequence LIMIT ?
"""


def entries(connection: sqlite3.Connection, first: int, last: int) -> Iterator[Found]:
    """Yield the entries with sequences from `first` to `last`; no transaction stays open between them."""
    settled = _has_portfolios(connection)
    while first <= last:
        heads = [row[0] for row in connection.execute(_HEADS, (first, last, _PIECE + 1))]
        end = heads.pop() - 1 if len(heads) > _PIECE else last
        yield from _piece(connection, heads, first, end, settled=settled)
        first = end + 1


def _piece(
    connection: sqlite3.Connection, heads: Sequence[int], first: int, last: int, *, settled: bool
) -> Iterator[Found]:
    """Yield the entries that begin at `heads`; all their rows lie between `first` and `last`."""

    def rows(table: str, order: str) -> list[Row]:
        rest = f"WHERE sequence BETWEEN ? AND ? ORDER BY {order}"
        return connection.execute(select(table, rest), (first, last)).fetchall()

    sets = {row[0]: row for row in rows("sets", "sequence")}
    bars = _by_sequence(rows("bars", "sequence, place"))
    irregularities = _by_sequence(rows("irregularities", "sequence, place"))
    decisions = _by_sequence(rows("decisions", "sequence, place"))
    orders = _by_sequence(rows("orders", "sequence, lane, place"))
    settlements = _by_sequence(rows("settlements", "sequence") if settled else [])
    proposals = _by_sequence(rows("proposals", "sequence, place") if settled else [])
    stored = {sequence: stored for sequence, _, stored in rows("entries", "sequence")}
    events: dict[int, list[Row]] = defaultdict(list)
    for row in rows("events", "sequence"):
        events[row[1] or row[0]].append(row)
    for head in heads:
        found = None
        if head in sets:
            found = SetRows(
                sets[head], bars[head], irregularities[head], decisions[head], orders[head],
                settlements[head], proposals[head],
            )  # fmt: skip
        own = events[head]
        sequences = [head, *(row[0] for row in own if row[0] != head)]
        yield Found(head, found, own, [(each, stored[each]) for each in sequences])


def _by_sequence(rows: Sequence[Row]) -> dict[int, list[Row]]:
    grouped: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row[0]].append(row)
    return grouped
