"""From a journal to `monitor.db`: what is new since the last run, in steps that a kill cannot tear apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial

from lockstep.errors import MonitorError
from lockstep.live.journal.reader import JournalReader
from lockstep.live.messages import SetRecord
from lockstep.live.traded import TradedModel
from lockstep.market.config import InstrumentBook
from operations.watch import rows
from operations.watch.database import MonitorDatabase
from operations.watch.join import OutcomeJoin

CURSOR, ODDITIES = "cursor", "oddities"
# Entries of one transaction.
_STEP = 250
_HASH = "SELECT hash FROM entries WHERE sequence = ?"


def read_journal(
    database: MonitorDatabase,
    journal: JournalReader,
    models: Mapping[str, TradedModel],
    book: InstrumentBook,
) -> int:
    """Read the entries that are new and return how many bar sets were among them.

    MonitorError where the journal is not the one that was read before, or the store lacks a bundle.
    """
    cursor = rows.state(database, CURSOR) or {"sequence": 0, "hash": "", "lanes": {}, "told": {}}
    require_same_journal(journal, cursor["sequence"], cursor["hash"])
    versions = {sha: model.bundle.version for sha, model in models.items()}
    join = OutcomeJoin(
        models,
        versions,
        book,
        known=partial(rows.signal_of_key, database),
        known_session=partial(rows.session_of_key, database),
        cursors=rows.cursors_of(cursor["lanes"]),
        told=cursor["told"],
    )
    sequence, sets, pending = cursor["sequence"], 0, 0
    for epoch in journal.epochs():
        first = journal.first_entry(epoch.number)
        last_of = journal.last_entry(epoch.number)
        if last_of <= sequence:
            continue
        join.begin(epoch, first=first > sequence)
        for entry in journal.entries(epoch.number, after=sequence):
            if isinstance(entry, SetRecord):
                join.take(entry)
                sets += 1
                sequence = max([entry.sequence, *(each.sequence for each in entry.events)])
            else:
                join.happened(entry)
                sequence = entry.sequence
            pending += 1
            if pending >= _STEP:
                _keep(database, join, journal, sequence)
                pending = 0
    if pending:
        _keep(database, join, journal, sequence)
    return sets


def require_same_journal(journal: JournalReader, sequence: int, known: str) -> None:
    """Raise MonitorError where entry `sequence` does not have the hash that an earlier run saw."""
    if not sequence:
        return
    found = journal.select(_HASH, sequence)
    if not found or bytes(found[0][0]).hex() != known:
        raise MonitorError(
            f"journal {journal.path}: its entry {sequence} is not the one that was read before; it was "
            "replaced or restored: name another database, or rebuild this one"
        )


def _keep(database: MonitorDatabase, join: OutcomeJoin, journal: JournalReader, sequence: int) -> None:
    found = join.joined
    known = rows.state(database, ODDITIES) or []
    (digest,) = journal.select(_HASH, sequence)[0]
    with database.step():
        database.put("outcomes", map(rows.signal_row, found.signals.values()))
        database.put("sessions", rows.rows_of(found.sessions.values()))
        database.put("swaps", rows.rows_of(found.swaps))
        odd = sorted({*map(tuple, known), *found.oddities})
        rows.keep_state(database, ODDITIES, [list(each) for each in odd])
        cursor = {
            "sequence": sequence,
            "hash": bytes(digest).hex(),
            "lanes": {lane: asdict(each) for lane, each in sorted(join.cursors.items())},
            "told": dict(sorted(join.told.items())),
        }
        rows.keep_state(database, CURSOR, cursor)
    join.forget()


def bundles_traded(journal: JournalReader) -> dict[str, str]:
    """Return the symbol of every bundle that decided something, by SHA-256."""
    found = journal.select("SELECT DISTINCT symbol, bundle FROM decisions ORDER BY symbol, bundle")
    return {bundle: symbol for symbol, bundle in reversed(found)}
