"""Backups of what a desk cannot make again: journal, store, ledger, monitor and retrainings, as one set.

A set is a folder with a list of its files and their hashes. It is written beside its place and renamed when
it is complete and verified, so that a set with a name is a whole one. Each part is copied before what it
needs: the book of retrainings, which names outcomes and versions, the monitor's database, which has read
entries of the journal, then the journal, which names bundles of the store. Entries and bundles are only ever
added, so that the later copy holds what the earlier one needs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from pydantic import AwareDatetime
from sqlalchemy import make_url

from lockstep.errors import BackupError, ConfigError, LockstepError
from lockstep.files import replacing, replacing_folder
from lockstep.live.journal import Journal
from lockstep.models.manifest import Manifest
from lockstep.models.manifest_file import LOCK, MANIFEST, locked
from lockstep.models.policy import POLICY
from lockstep.models.sources import SIGNATURE, SOURCES
from lockstep.models.store import ModelStore
from lockstep.settings import SchemaVersion, Settings, read_json, validated
from operations.book_backup import BOOK, book_faults, copy_book
from operations.monitor_backup import MONITOR, copy_between_writes, copy_monitor, monitor_faults
from research.ledger.database import Database, copy_tables, row_counts

SCHEMA = 1
JOURNAL, STORE, LEDGER, LIST = "journal.db", "store", "ledger.db", "set.json"
_STAMP = "%Y%m%dT%H%M%SZ"
_CHUNK = 1 << 20


class Places(NamedTuple):
    """Where the parts live: journal, store's folder, ledger's database URL, `monitor.db`, `retraining.db`.

    None where a desk has no such part: a machine that only trades has no ledger.
    """

    journal: Path | None
    store: Path | None
    ledger: str | None
    monitor: Path | None = None
    retraining: Path | None = None


class BackupSet(Settings):
    """`set.json`: what a set holds.

    files      SHA-256 (hex) by path inside the set
    epoch, sequence   newest of the journal; trials   rows by table of the ledger; each None where absent
    absent     files that the manifest names and the store did not have
    monitor    rows of the monitor's recorded tables; None where the set has none, or is of before there were
               monitors
    retraining rows of the book of retrainings; None likewise
    """

    schema_version: SchemaVersion = SCHEMA
    made: AwareDatetime
    files: dict[str, str]
    epoch: int | None = None
    sequence: int | None = None
    rows: dict[str, int] | None = None
    absent: tuple[str, ...] = ()
    monitor: dict[str, int] | None = None
    retraining: int | None = None


def create(folder: Path, places: Places, *, now: datetime) -> Path:
    """Write a set into `folder`, verify it, and return its folder `set-<UTC time>`.

    Files that the newest set there has already are linked, not copied again: bundles never change.

    Raises: BackupError where a part that is declared does not exist, or the copy is incomplete; a failure
    leaves nothing. JournalError, ModelError, ExperimentError as the parts' own.
    """
    if not any(places):
        raise BackupError("backup: no journal, store, ledger, monitor or book is given; name at least one")
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"set-{now:{_STAMP}}"
    if final.exists():
        raise BackupError(f"backup {final}: exists already; try again in a second")
    with replacing_folder(final) as partial:
        found = _parts(partial, places, now)
        known = next(iter(reversed(sets(folder))), None)
        files = {}
        for path in sorted(each for each in partial.rglob("*") if each.is_file()):
            name = path.relative_to(partial).as_posix()
            files[name] = _sha256(path)
            _link_if_known(path, known and known / name, files[name])
        written = found.model_copy(update={"files": files})
        (partial / LIST).write_text(written.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if faults := verify(partial):
            raise BackupError(f"backup {final.name}: {faults[0]}")
    return final


def sets(folder: Path) -> list[Path]:
    """Return the sets of a folder, oldest first."""
    return sorted(path for path in folder.glob("set-????????T??????Z") if (path / LIST).is_file())


def prune(folder: Path, *, keep: int) -> list[Path]:
    """Remove all but the newest `keep` sets, and what killed backups left; return the sets that went."""
    for leftover in folder.glob(".set-*.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    gone = sets(folder)[: -keep or None] if keep else []
    for path in gone:
        # Without its list it is no set any more, whatever happens on the way.
        (path / LIST).unlink()
        shutil.rmtree(path, ignore_errors=True)
    return gone


def read(folder: Path) -> BackupSet:
    """Return the list of a set; BackupError where it is none."""
    try:
        return validated(BackupSet, read_json(folder / LIST), where=str(folder / LIST))
    except ConfigError as error:
        raise BackupError(f"backup: {error}; name the folder of a set, or take another") from error


def verify(folder: Path) -> list[str]:
    """Return what is wrong with a set, one line each; an empty list for a whole one."""
    listed = read(folder)
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {LIST}
    faults = [f"{name}: is missing" for name in sorted(set(listed.files) - present)]
    faults += [f"{name}: is not in the list" for name in sorted(present - set(listed.files))]
    faults += [
        f"{name}: its content has changed"
        for name, expected in listed.files.items()
        if name in present and _sha256(folder / name) != expected
    ]
    if faults:
        return faults
    try:
        return [
            *_journal_faults(folder, listed),
            *_store_faults(folder),
            *_ledger_faults(folder, listed),
            *monitor_faults(folder / MONITOR, listed.monitor),
            *book_faults(folder / BOOK, listed.retraining),
        ]
    except LockstepError as error:
        return [str(error)]


def restore(folder: Path, places: Places) -> list[str]:
    """Bring the parts of a set to `places`, and return a line for each.

    Everything is checked before anything is written. Each part appears whole or not at all; after a crash the
    same call goes on: what is there with the set's content is left as it is.

    Raises: BackupError where the set is not whole, has no such part, or a place holds something else. A set
    without a monitor or a book of retrainings is restored without it: there was none yet.
    """
    if faults := verify(folder):
        raise BackupError(f"backup {folder}: {faults[0]}; take another set")
    steps = [
        step for part, place in zip(_PARTS, places, strict=True) if place for step in [part(folder, place)]
    ]
    return [f"{step.what}: {step.carry_out()}" for step in steps]


class _Step(NamedTuple):
    """Bringing one part back. write   None where nothing is to be done; why   in words."""

    what: str
    write: Callable[[], object] | None
    why: str = "is there already"

    def carry_out(self) -> str:
        if self.write is None:
            return self.why
        self.write()
        return "restored"


def _journal_step(folder: Path, place: Path | str) -> _Step:
    return _file_step(folder, JOURNAL, Path(place), "journal")


def _ledger_step(folder: Path, place: Path | str) -> _Step:
    url = make_url(str(place))
    if url.get_backend_name() == "sqlite":
        return _file_step(folder, LEDGER, Path(url.database or ""), "ledger")
    rows = read(folder).rows
    if rows is None:
        raise BackupError(f"backup {folder}: holds no ledger; take another set, or leave it out")
    shown = url.render_as_string(hide_password=True)
    target = Database.open(str(place))
    present = row_counts(target)
    if present == rows:
        return _Step(f"ledger {shown}", None)
    if any(present.values()):
        raise BackupError(f"ledger {shown}: is not empty; restore into a new database")
    return _Step(f"ledger {shown}", lambda: _into_database(folder / LEDGER, target))


def _into_database(file: Path, target: Database) -> None:
    with TemporaryDirectory() as scratch:
        copied = shutil.copy(file, scratch)
        copy_tables(Database.open(f"sqlite:///{copied}"), target)


def _store_step(folder: Path, place: Path | str) -> _Step:
    source, target = folder / STORE, Path(place)
    if not source.is_dir():
        raise BackupError(f"backup {folder}: holds no store; take another set, or leave it out")
    present = _hashes(target) if target.is_dir() else {}
    if present and present == _hashes(source):
        return _Step(f"store {target}", None)
    if target.exists() and (present or not target.is_dir()):
        raise BackupError(f"store {target}: holds something else; move it away first")
    return _Step(f"store {target}", lambda: _put_folder(source, target))


def _monitor_step(folder: Path, place: Path | str) -> _Step:
    if read(folder).monitor is None:
        return _Step(f"monitor {place}", None, "is not in this set; the monitor makes a new one")
    return _file_step(folder, MONITOR, Path(place), "monitor")


def _book_step(folder: Path, place: Path | str) -> _Step:
    if read(folder).retraining is None:
        return _Step(f"retrainings {place}", None, "are not in this set; the next one begins a new book")
    return _file_step(folder, BOOK, Path(place), "retrainings")


def _file_step(folder: Path, name: str, target: Path, what: str) -> _Step:
    listed = read(folder).files.get(name)
    if listed is None:
        raise BackupError(f"backup {folder}: holds no {what}; take another set, or leave it out")
    log = target.with_name(f"{target.name}-wal")
    if log.exists() and log.stat().st_size:
        raise BackupError(f"{what} {target}: {log.name} of another one is beside it; move both away first")
    if target.exists() and _sha256(target) == listed:
        return _Step(f"{what} {target}", None)
    if target.exists():
        raise BackupError(f"{what} {target}: holds something else; move it away first")
    return _Step(f"{what} {target}", lambda: _put_file(folder / name, target))


_PARTS = (_journal_step, _store_step, _ledger_step, _monitor_step, _book_step)


def _put_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial:
        shutil.copyfile(source, partial)


def _put_folder(source: Path, target: Path) -> None:
    with replacing_folder(target) as partial:
        shutil.copytree(source, partial, dirs_exist_ok=True)


def _hashes(folder: Path) -> dict[str, str]:
    """Return SHA-256 by name of the files of a store; its lock is none of them."""
    return {
        path.relative_to(folder).as_posix(): _sha256(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != LOCK
    }


def _parts(partial: Path, places: Places, now: datetime) -> BackupSet:
    found = BackupSet(made=now, files={})
    if places.retraining is not None:
        found = found.model_copy(update={"retraining": copy_book(places.retraining, partial / BOOK)})
    if places.monitor is not None:
        found = found.model_copy(update={"monitor": copy_monitor(places.monitor, partial / MONITOR)})
    if places.journal is not None:
        with Journal.open(places.journal, readonly=True) as journal:
            journal.backup(partial / JOURNAL)
        with Journal.open(partial / JOURNAL, readonly=True) as copied:
            newest = copied.newest_epoch()
            ((sequence,),) = copied.select("SELECT coalesce(max(sequence), 0) FROM entries")
        found = found.model_copy(update={"epoch": newest.number if newest else 0, "sequence": sequence})
    if places.store is not None:
        found = found.model_copy(update={"absent": _copy_store(places.store, partial / STORE)})
    if places.ledger is not None:
        found = found.model_copy(update={"rows": _copy_ledger(places.ledger, partial / LEDGER)})
    return found


def _copy_store(source: Path, target: Path) -> tuple[str, ...]:
    """Copy what the manifest and the policy say there is; return what there is not."""
    if not (source / MANIFEST).is_file():
        raise BackupError(f"backup: {source}: holds no {MANIFEST}; name the model store")
    target.mkdir()
    with locked(source):
        manifest = ModelStore(source).manifest()
        registered = dict.fromkeys(_files_of(manifest))
        absent = tuple(name for name in registered if not (source / name).is_file())
        pages = (str(Path(name).with_suffix(".html")) for name in registered if name.endswith(".json"))
        optional = [name for name in (POLICY, SOURCES, SIGNATURE, *pages) if (source / name).is_file()]
        for name in (MANIFEST, *registered, *optional):
            if name not in absent:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, target / name)
    return absent


def _files_of(manifest: Manifest) -> Iterator[str]:
    """Yield the files of all versions and of their reports."""
    for models in manifest.instruments.values():
        for model in models.values():
            for entry in model.versions.values():
                yield entry.file
                for each in entry.evidence:
                    if not Path(each.file).is_absolute() and ".." not in Path(each.file).parts:
                        yield each.file


def _copy_ledger(url: str, target: Path) -> dict[str, int]:
    _require_ledger(url)
    source = Database.open(url)
    if source.is_postgresql:
        copied = Database.open(f"sqlite:///{target}")
        copy_tables(source, copied)
    else:
        copy_between_writes(Path(make_url(url).database or ""), target)
    return _counted(target)


def _require_ledger(url: str) -> None:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        raise BackupError(f"backup: ledger {parsed.database}: no such file; name it, or leave the ledger out")


def _counted(file: Path) -> dict[str, int]:
    """Return the rows by table of a copied ledger, leaving nothing beside it."""
    counts = row_counts(Database.open(f"sqlite:///{file}"))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    return counts


def _journal_faults(folder: Path, listed: BackupSet) -> Iterator[str]:
    if JOURNAL not in listed.files:
        return
    with Journal.open(folder / JOURNAL, readonly=True) as journal:
        for fault in journal.verify():
            yield f"{JOURNAL}: {fault}"
        needed = journal.open_bundles()
    if (folder / STORE).is_dir():
        manifest = ModelStore(folder / STORE).manifest()
        registered = {
            entry.sha256: entry.file
            for models in manifest.instruments.values()
            for model in models.values()
            for entry in model.versions.values()
        }
        for sha256 in sorted(needed):
            name = registered.get(sha256)
            if name is None or f"{STORE}/{name}" not in listed.files:
                yield f"{JOURNAL}: needs bundle {sha256[:12]}…, which the store does not hold"


def _store_faults(folder: Path) -> Iterator[str]:
    if not (folder / STORE).is_dir():
        return
    store = ModelStore(folder / STORE)
    for symbol, models in store.manifest().instruments.items():
        for name, model in models.items():
            for version, entry in model.versions.items():
                if (store.folder / entry.file).is_file():
                    store.content(entry)
                elif version == model.production:
                    yield f"{STORE}: {symbol} {name} {version} is in production, and its file is absent"


def _ledger_faults(folder: Path, listed: BackupSet) -> Iterator[str]:
    if listed.rows is None:
        return
    with closing(
        sqlite3.connect(f"{(folder / LEDGER).resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    ) as copied:
        for (answer,) in copied.execute("PRAGMA integrity_check"):
            if answer != "ok":
                yield f"{LEDGER}: {answer}"
        for table, count in listed.rows.items():
            ((found,),) = copied.execute(f"SELECT count(*) FROM {table}").fetchall()
            if found != count:
                yield f"{LEDGER}: {table} has {found} rows, written were {count}"


def _link_if_known(path: Path, known: Path | None, sha256: str) -> None:
    if known is not None and known.is_file() and _sha256(known) == sha256:
        with replacing(path, durable=False) as linked:
            os.link(known, linked)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
