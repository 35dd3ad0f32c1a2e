"""The manifest as a file: read with every check, written in one step, under a lock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lockstep.errors import ConfigError, ManifestError, StoreFailure
from lockstep.files import remove_leftovers, replace_file
from lockstep.models import chain
from lockstep.models.content import file_content
from lockstep.models.manifest import SCHEMA, Manifest
from lockstep.settings import parse_json, validated

MANIFEST = "manifest.json"
LOCK = "manifest.json.lock"
_LOCK_SECONDS = 60
_MOST_BYTES = 64 << 20


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a store, an empty one where there is none yet.

    Raises:
        ManifestError: it is no manifest, or of a newer schema
        ManifestEdited: history or instruments are not what the verbs wrote
    """
    content = manifest_content(folder)
    return Manifest() if content is None else manifest_of(content, str(folder / MANIFEST))


def manifest_content(folder: Path) -> bytes | None:
    """Return the bytes of a store's manifest, None where there is none yet; ManifestError as for reading."""
    return _content(folder / MANIFEST)


def manifest_of(content: bytes, where: str) -> Manifest:
    """Return the manifest in the bytes of its file; raises as `read_manifest` does."""
    found = _json(content, where)
    written = found.get("schema_version") if isinstance(found, dict) else None
    if type(written) is int and written > SCHEMA:
        raise ManifestError(f"{where}: schema {written}, this Lockstep reads up to {SCHEMA}; update Lockstep")
    try:
        manifest = validated(Manifest, found, where=where)
    except ConfigError as error:
        raise ManifestError(f"{error}; restore the file from version control or a backup") from error
    chain.verify(manifest, where)
    return manifest


def store_json(path: Path) -> Any:
    """Return the content of a store's JSON file, None without one; ManifestError where it is wrong."""
    content = _content(path)
    return None if content is None else _json(content, str(path))


def _content(path: Path) -> bytes | None:
    try:
        return file_content(path, most=_MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from error


def _json(content: bytes, where: str) -> Any:
    try:
        return parse_json(content)
    except ConfigError as error:
        raise ManifestError(f"{where}: {error}; restore it from a backup") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest in one step; StoreFailure leaves the old one. Only while `locked`."""
    text = json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=2, ensure_ascii=False)
    remove_leftovers(folder / MANIFEST)
    replace_file(folder / MANIFEST, f"{text}\n".encode())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing the store; StoreFailure where one of them does not end."""
    lock = FileLock(folder / LOCK, timeout=_LOCK_SECONDS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise StoreFailure(
            f"{folder}: another process has held its lock for {_LOCK_SECONDS} s; wait, or end that process"
        ) from error
    except OSError as error:
        raise StoreFailure(f"{folder}: cannot be locked: {error.strerror}; check its permissions") from error
    try:
        yield
    finally:
        lock.release()
