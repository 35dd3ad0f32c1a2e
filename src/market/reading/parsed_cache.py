"""Parsed files, kept as Arrow so that the second load is a memory map.

An entry belongs to the bytes of the file, to what its source declares, to the session with the calendar that
it is counted in, and to the code that parses. Only files without any finding are kept. The folder may be
deleted at any time; what is damaged in it is ignored and written again.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.files import replacing
from lockstep.identity import READING, cache_root, code_hash, json_digest, library_versions
from lockstep.market.sessions import Session
from lockstep.market.source import Source

# Smaller files are read as fast as they are looked up.
WORTH = 1 << 18
# The folder holds no more bytes than this; the entries that were used longest ago go first.
LIMIT = 2 << 30
_SUFFIX = ".arrow"
_CHECKSUM = b"checksum"
# What decides stamps and sessions beside our own code.
_LIBRARIES = ("exchange_calendars", "numpy", "pandas", "pyarrow", "tzdata")

Arrays = dict[str, NDArray[Any]]


def key(head: bytes, digest: str, source: Source, session: Session | None) -> str:
    """Return the name of an entry.

    head      the first bytes of the file
    digest    SHA-256 (hex) of all of them
    session   that bars are counted in; None for ticks
    """
    content = {
        "file": digest,
        "source": source.model_dump(mode="json", exclude={"name", "folder", "package", "file", "symbols"}),
        "session": None if session is None else session.template.model_dump(mode="json"),
        "code": _code(),
    }
    return f"{_prefix(head)}-{json_digest(content)}"


def _prefix(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()[:16]


def may_hold(head: bytes) -> bool:
    """Whether there is an entry of a file with these first bytes; without one its digest can wait."""
    return next(folder().glob(f"{_prefix(head)}-*{_SUFFIX}"), None) is not None


@functools.cache
def _code() -> str:
    """Return which code and which libraries these are."""
    libraries = library_versions(_LIBRARIES).items()
    return " ".join((code_hash(READING), *(f"{name} {version}" for name, version in libraries)))


def folder() -> Path:
    """Return the folder of all entries."""
    return cache_root() / "bars"


def load(name: str) -> Arrays | None:
    """Return the arrays of an entry, mapped from its file and read-only; None where there is no sound one."""
    import pyarrow as pa

    path = folder() / f"{name}{_SUFFIX}"
    try:
        with pa.memory_map(str(path)) as mapped:
            table = pa.ipc.open_file(mapped).read_all()
        arrays = {each: table.column(each).chunk(0).to_numpy() for each in table.column_names}
        sound = (table.schema.metadata or {}).get(_CHECKSUM) == _checksum(name, arrays)
    except (OSError, pa.ArrowException, IndexError, ValueError):
        return None
    if not sound:
        return None
    with suppress(OSError):
        os.utime(path)
    return arrays


def keep(name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep arrays (n,) under a name, in one step; a folder that cannot be written to is no failure."""
    import pyarrow as pa

    table = pa.table({each: pa.array(values) for each, values in arrays.items()})
    table = table.replace_schema_metadata({_CHECKSUM: _checksum(name, arrays)})
    with suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
        with replacing(folder() / f"{name}{_SUFFIX}", durable=False) as temporary:
            with pa.ipc.new_file(temporary, table.schema) as writer:
                writer.write_table(table)
        _drop_oldest()


def _checksum(name: str, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return what shows damage: the entry's name, and of each column type, length, sum and parity.

    Files of the user's own cache are damaged by disks and crashes, not by forgers, and this takes a tenth of
    the time of a cryptographic digest.
    """
    words = {each: values.view(np.uint64) for each, values in arrays.items()}
    sums = (
        f"{each} {arrays[each].dtype} {them.size} {np.add.reduce(them)} {np.bitwise_xor.reduce(them)}"
        for each, them in words.items()
    )
    return "; ".join((name, *sums)).encode()


def _drop_oldest() -> None:
    """Delete the entries that were used longest ago until the folder holds no more than `LIMIT` bytes.

    Another process may be deleting the same ones, or have written a new one.
    """
    entries = sorted(_sized(folder().iterdir()), reverse=True)
    total = 0
    for _, size, path in entries:
        total += size
        if total > LIMIT:
            path.unlink(missing_ok=True)


def _sized(paths: Iterable[Path]) -> Iterable[tuple[float, int, Path]]:
    for path in paths:
        with suppress(OSError):
            stat = path.stat()
            yield stat.st_mtime, stat.st_size, path
