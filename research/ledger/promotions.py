"""What a promotion asks of the ledger: is it the one of the promotions before, and what else does it know?

A database can be lost, replaced or edited by whoever may write to it; the strategy log, the strategy files
and the manifest lie under version control. Each names the ledger by which its promotion was judged. The next
promotion compares: a fresh database, rows that are gone and a chain that was written anew are seen there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lockstep.errors import ExperimentError
from lockstep.models.manifest import LedgerStamp, Manifest
from research.ledger import chain
from research.ledger.kinship import merged_with
from research.ledger.law import GUARD, REFUSED
from research.ledger.ledger import Ledger

_STAMP = re.compile(
    r"^[-#] ledger: id ([0-9a-f]{64}), head ([0-9a-f]{64}), (\d+) links, (\d+) trials$", re.MULTILINE
)
_WAY_OUT = "earlier trials would not count: set LOCKSTEP_DB to that ledger, or restore it from a backup"


@dataclass(frozen=True, kw_only=True)
class WrittenStamp:
    """A stamp and where it stands: `STRATEGY_LOG.md, baseline_v2`."""

    where: str
    stamp: LedgerStamp


def stamp_of(ledger: Ledger) -> LedgerStamp:
    """Return where a ledger stands now; one that holds nothing begins."""
    with ledger.database.write() as connection:
        chain.begin(connection)
        found = chain.head(connection)
    return LedgerStamp(id=found.id, head=found.hash, links=found.links, trials=found.trials)


def stamps_in(text: str) -> list[LedgerStamp]:
    """Return the stamps in a text, in its order: lines as `- ledger: id …, head …, 41 links, 1200 trials`."""
    return [
        LedgerStamp(id=found[1], head=found[2], links=int(found[3]), trials=int(found[4]))
        for found in _STAMP.finditer(text)
    ]


def of_strategies(log: Path, folder: Path) -> list[WrittenStamp]:
    """Return the last stamp of a strategy log, and those of strategy files that the log does not mention.

    The last one alone: a promotion that was forced over another ledger begins anew, and says so in its entry.
    """
    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    logged = [each for each in _sections(text) if stamps_in(each[1])][-1:]
    titles = {title for title, _ in _sections(text)}
    files = [
        (path, path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.yaml"))
        if path.stem not in titles
    ]
    places = [(f"{log}, {title}", section) for title, section in logged]
    places += [(str(path), content) for path, content in files]
    return [WrittenStamp(where=where, stamp=each) for where, content in places for each in stamps_in(content)]


def _sections(log: str) -> list[tuple[str, str]]:
    """Return the entries of a strategy log: the name of each, and its text."""
    parts = re.split(r"^## (\S+)", log, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def of_manifest(manifest: Manifest, where: Path) -> list[WrittenStamp]:
    """Return the last stamp of a manifest's history."""
    found = [
        WrittenStamp(where=f"{where}, {entry}", stamp=entry.ledger)
        for entry in manifest.history
        if entry.ledger is not None
    ]
    return found[-1:]


def faults(ledger: Ledger, written: Sequence[WrittenStamp]) -> tuple[str, ...]:
    """Return what is wrong with the ledger, a line each: in its own chain, and by what others wrote of it."""
    try:
        ledger.verify()
    except ExperimentError as error:
        return (str(error),)
    found = ((each, ledger.contradiction(_head(each.stamp))) for each in written)
    return tuple(f"{each.where}: {fault}; {_WAY_OUT}" for each, fault in found if fault)


def _head(stamp: LedgerStamp) -> chain.Head:
    return chain.Head(id=stamp.id, hash=stamp.head, links=stamp.links, trials=stamp.trials)


def remarks(ledger: Ledger, families: Sequence[str]) -> tuple[str, ...]:
    """Return what the next reader has to know: markets under several names, refused attempts, lost guards."""
    known, wanted = ledger.verdicts(), {each for family in families for each in ledger.relatives(family)}
    refused = [each for each in known if each.kind == REFUSED and wanted & set(each.families)]
    with ledger.database.read() as connection:
        found = [f"market: {each}" for family in families for each in merged_with(connection, family)]
    if refused:
        last = refused[-1]
        times = "once" if len(refused) == 1 else f"{len(refused)} times"
        found.append(
            f"earlier attempts: refused {times} on {', '.join(sorted(wanted))}, last {last.subject} on "
            f"{last.recorded[:10]}: {'; '.join(last.refusals)}"
        )
    found += [
        f"guards of the ledger: {each.subject} missing on {each.recorded[:10]}, and made again; the chain of "
        "hashes is what vouches for the rows"
        for each in known
        if each.kind == GUARD
    ]
    return tuple(found)
