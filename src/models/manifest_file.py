"""The manifest as a file: read with every check, written in one step, under a lock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lockstep.errors import ConfigError
from lockstep.market.validation import read_json, validated
from lockstep.models import chain
from lockstep.models.atomic import remove_leftovers, replace_file
from lockstep.models.errors import ManifestError, StoreFailure
from lockstep.models.manifest import SCHEMA, Manifest

MANIFEST = "manifest.json"
LOCK = "manifest.json.lock"
_LOCK_SECONDS = 60


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a store, an empty one where there is none yet.

    Raises:
        ManifestError: it is no manifest, or of a newer schema
        ManifestEdited: history or instruments are not what the verbs wrote
    """
    path = folder / MANIFEST
    content = store_json(path)
    if content is None:
        return Manifest()
    written = content.get("schema_version") if isinstance(content, dict) else None
    if type(written) is int and written > SCHEMA:
        raise ManifestError(f"{path}: schema {written}, this Lockstep reads up to {SCHEMA}; update Lockstep")
    try:
        manifest = validated(Manifest, content, where=str(path))
    except ConfigError as error:
        raise ManifestError(f"{error}; restore the file from version control or a backup") from error
    chain.verify(manifest, str(path))
    return manifest


def store_json(path: Path) -> Any:
    """Return the content of a store's JSON file, None without one; ManifestError where it is wrong."""
    if not path.exists():
        return None
    try:
        return read_json(path)
    except ConfigError as error:
        raise ManifestError(f"{error}; restore it from a backup") from error


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
