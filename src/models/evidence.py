"""What evidence was produced with, and whether that still holds: code, libraries, instruments, bars."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np

from lockstep import identity
from lockstep.compiled import machine
from lockstep.errors import LockstepError
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.history import History
from lockstep.market.loader import load_bars
from lockstep.market.timeframe import Timeframe
from lockstep.models.manifest import BarRange, BarsRead, Evidence

VALIDATION, CERTIFICATE, PAPER = "validation", "certificate", "paper"
# What a candidate earned on bars that did not exist when it was registered. It is bound to the bundle alone:
# it happened, whatever the code is now; that the code trades the bundle alike is for the certificate to say.
FORWARD = "forward"
# What a running desk is held to, frozen at validation. It is bound to the bundle alone, too: a desk does not
# choose its bar again because code that has nothing to do with it has changed.
REFERENCE = "reference"
MACHINE, _LIBRARY = "machine", "library "

# Evidence of these kinds was computed from bars by our code, by these roots of it: it must say by which code,
# and of which markets.
_ROOTS = {
    VALIDATION: identity.VALIDATING,
    CERTIFICATE: identity.CERTIFYING,
    PAPER: identity.PAPER,
}
# The first date that `load_bars` takes: what a source calls usable is no matter here, stamps say which bars.
_FIRST = "0001-01-01"


def gathered_with(
    kind: str, symbols: Collection[str], sources: Collection[str], *, book: InstrumentBook | None = None
) -> dict[str, str]:
    """Return the hashes that bind evidence of a kind to what it is gathered with.

    code           of what gathers this kind (`identity.ROOTS`); absent for kinds that are not ours
    library NAME   version, of each library that takes part in a decision
    machine        as of `compiled.machine`: another one is remarked on, and enforced where a desk starts
    instruments    of what `book`, by default instruments.yml as it is now, declares of these symbols and data
                   sources (`InstrumentBook.digest`); empty where one of them is not declared any more
    """
    found = {f"{_LIBRARY}{name}": version for name, version in identity.library_versions().items()}
    found[MACHINE] = machine()
    if kind in _ROOTS:
        found["code"] = identity.code_hash(_ROOTS[kind])
    if symbols:
        book = book or load_instruments()
        declared = book.instruments.keys() >= set(symbols) and book.sources.keys() >= set(sources)
        found["instruments"] = book.digest(symbols, sources) if declared else ""
    return found


def bars_read(
    history: History, data_dir: Path | str | None, source: str | None, *, last: int | None = None
) -> BarsRead:
    """Return which bars evidence rests on, so that a revised one is noticed and an appended one is none.

    data_dir, source   as they were given, to read the bars again
    last               end (UTC ns) of the newest bar that counts; None: all that were loaded
    """
    series = {}
    for key, bars in sorted(history.bars.items()):
        stop = len(bars) if last is None else int(np.searchsorted(bars.end, last, side="right"))
        if stop:
            used = bars.rows(0, stop)
            series[str(key)] = BarRange(
                first=int(used.end[0]), last=int(used.end[-1]), hash=used.content_hash
            )
    folder = None if data_dir is None else str(Path(data_dir).resolve())
    return BarsRead(data_dir=folder, source=source, series=series)


def gathered_otherwise(evidence: Evidence) -> Iterator[str]:
    """Yield in what evidence of a kind of ours was gathered with something else than is here now."""
    if evidence.kind not in _ROOTS:
        return
    then, now = evidence.hashes, gathered_with(evidence.kind, evidence.symbols, evidence.sources)
    if "code" not in then:
        yield "does not record the code it was produced with; produce it again"
    elif word := identity.only_proves(then["code"]):
        yield f"was produced by an earlier version: {word}; produce it again"
    else:
        if then["code"] != now["code"]:
            yield "was produced with other code; produce it again"
        yield from _other_libraries(then, now)
    if "instruments" not in then or "instruments" not in now:
        yield "does not record the instruments it was produced with; produce it again"
    elif then["instruments"] != now["instruments"]:
        yield "was produced with other instruments; produce it again"


def _other_libraries(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    named = sorted(name for name in then.keys() | now.keys() if name.startswith(_LIBRARY))
    for name in named:
        if then.get(name) != now.get(name):
            library = name.removeprefix(_LIBRARY)
            yield (
                f"was produced with {library} {then.get(name, 'of no recorded version')}, here is "
                f"{now.get(name, 'none')}; produce it again"
            )


def revised(evidence: Evidence) -> tuple[list[str], list[str]]:
    """Return which bars of its range are others now, and which cannot be read again; sentences, both."""
    changed, unread = [], []
    read = evidence.data or BarsRead()
    for name, then in read.series.items():
        try:
            now = _content(name, then, read)
        except LockstepError as error:
            unread.append(f"whether bars of {name} were revised cannot be told, they cannot be read: {error}")
            continue
        if now != then.hash:
            first, last = (np.datetime64(stamp, "ns").astype("M8[D]") for stamp in (then.first, then.last))
            changed.append(f"bars of {name} were revised since, between {first} and {last}; produce it again")
    return changed, unread


def _content(name: str, then: BarRange, read: BarsRead) -> str:
    """Return the hash of the bars that are in a range now."""
    symbol, _, frame = name.rpartition(":")
    timeframe = Timeframe.parse(frame)
    bars = load_bars(symbol, read.data_dir, timeframe=timeframe, start=_FIRST, source=read.source)
    first, last = np.searchsorted(bars.end, [then.first, then.last + 1]).tolist()
    return bars.rows(first, last).content_hash


def elsewhere(evidence: Evidence) -> str:
    """Return in words that evidence was produced on another machine; empty where it was not known to be."""
    there = evidence.hashes.get(MACHINE)
    if there in (None, machine()):
        return ""
    return (
        f"was produced on another machine, {there}, this is {machine()}: bits may differ, and a desk with "
        "money starts only where its certificate was issued"
    )
