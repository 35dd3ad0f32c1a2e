"""Is the journal whole? Every check answers with findings, one line each; none means yes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from lockstep.live.journal import reading
from lockstep.live.journal.chain import ORIGIN, link
from lockstep.live.journal.rows import FIRST


def findings(connection: sqlite3.Connection) -> list[str]:
    """Return everything that is wrong with a journal: pages, references, sequence, decisions, hashes."""
    try:
        pages = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        return pages or [*_references(connection), *_order(connection)] or chain(connection)
    except sqlite3.DatabaseError as error:
        return [f"it cannot be read: {error}"]


def structure(connection: sqlite3.Connection) -> list[str]:
    """Return which pages of the file are damaged, without looking into the rows."""
    return [row[0] for row in connection.execute("PRAGMA quick_check") if row[0] != "ok"]


def _references(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute("PRAGMA foreign_key_check").fetchall()
    return [
        f"{table}: row {row} refers to a row of {parent} that is not there" for table, row, parent, _ in found
    ]


_ORDER = {
    "epoch {0}: the one before it is missing": """
        SELECT number FROM epochs WHERE number > 1 AND number - 1 NOT IN (SELECT number FROM epochs)""",
    "entry {0}: the one before it is missing": """
        SELECT sequence FROM entries AS here
        WHERE sequence > 1 AND NOT EXISTS (SELECT 1 FROM entries WHERE sequence = here.sequence - 1)""",
    "entry {0}: neither a bar set nor an event": """
        SELECT sequence FROM entries
        WHERE sequence NOT IN (SELECT sequence FROM sets UNION ALL SELECT sequence FROM events)""",
    "entry {0}: is in the wrong epoch": """
        SELECT sequence FROM entries JOIN epochs ON number = epoch
        WHERE sequence < first
        OR EXISTS (SELECT 1 FROM epochs WHERE number = epoch + 1 AND first <= sequence)""",
    "bar set {0}: its stamp {1} is not after that of the set before it": """
        SELECT sequence, stamp FROM (
            SELECT sequence, stamp, lag(stamp) OVER (PARTITION BY epoch ORDER BY sequence) AS previous
            FROM sets JOIN entries USING (sequence)
        ) WHERE stamp <= previous""",
    "epoch {0}: {1} decided more than once at {2}": """
        SELECT epoch, symbol, stamp FROM decisions JOIN sets USING (sequence) JOIN entries USING (sequence)
        GROUP BY epoch, symbol, stamp HAVING count(*) > 1""",
}


def _order(connection: sqlite3.Connection) -> Iterator[str]:
    for text, query in _ORDER.items():
        for row in connection.execute(query).fetchall():
            yield text.format(*row)


def chain(connection: sqlite3.Connection, *, newest: int | None = None) -> list[str]:
    """Return the first epoch or entry whose hash does not follow from its rows and the hash before it.

    newest   look at about so many entries at the end only; the first of them is taken as it is
    """
    (last,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM entries").fetchone()
    since = 0 if newest is None else max(0, last - newest)
    previous = None if since else ORIGIN
    for step in _steps(connection, since, last):
        for name, rows, stored in step.links:
            if previous is not None and link(previous, rows) != stored:
                return [f"{name}: {_BROKEN}"]
            previous = stored
    return []


def sound(connection: sqlite3.Connection, fault: str = "") -> Sound:
    """Return up to where every hash follows, in whole transactions.

    fault   why rows may be missing at the end of the tables, empty where all were read. A bar set counts only
            where what follows it is known: otherwise its events may be what is missing.
    """
    done = sure = Sound(0, 0, "")
    previous = ORIGIN
    (last,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM entries").fetchone()
    try:
        for step in _steps(connection, 0, last):
            if step.known:
                sure = done
            for name, rows, stored in step.links:
                if link(previous, rows) != stored:
                    return sure._replace(fault=fault or f"{name}: {_BROKEN}")
                previous = stored
            done = Sound(step.epoch, step.sequence, "")
            sure = sure if step.is_set else done
    except (sqlite3.DatabaseError, KeyError, ValueError) as error:
        return sure._replace(fault=fault or f"what follows entry {done.sequence} cannot be read: {error}")
    return sure._replace(fault=fault) if fault else done


_BROKEN = "its hash does not follow from its rows and the entry before it"


class Sound(NamedTuple):
    """Newest epoch and entry of an unbroken chain; `fault` says what ends it, empty for the end."""

    epoch: int
    sequence: int
    fault: str


class _Step(NamedTuple):
    """What one transaction wrote: its newest epoch and entry, and (name, rows, stored hash) of each part."""

    epoch: int
    sequence: int
    links: list[tuple[str, object, bytes]]
    is_set: bool = False
    known: bool = True


def _steps(connection: sqlite3.Connection, since: int, last: int) -> Iterator[_Step]:
    """Yield epochs and entries in the order in which they were written."""
    starts = list(reading.epochs(connection))
    ends = [rows.head[FIRST] - 1 for rows, _ in starts[1:]] + [last]
    for (rows, stored), end in zip(starts, ends, strict=False):
        number, first = rows.head[0], rows.head[FIRST]
        if first >= since:
            yield _Step(number, first - 1, [(f"epoch {number}", rows.hashed, stored)])
        for found in reading.entries(connection, max(first, since), end):
            parts: list[object] = [*([found.set.hashed] if found.set else []), *found.events] or [None]
            yield _Step(
                number,
                found.entries[-1][0],
                [
                    (f"entry {sequence}", part, each)
                    for part, (sequence, each) in zip(parts, found.entries, strict=True)
                ],
                is_set=found.set is not None,
                known=bool(found.set or found.events),
            )
