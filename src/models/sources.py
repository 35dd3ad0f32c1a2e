"""Whose manifests a store trusts: they are signed with a secret key that both stores share.

A manifest says which hash a bundle has, so that it vouches for its own folder: whoever can write the one can
write the other. What is fetched from another store is therefore pinned, by the hash of the bundle, told by
another channel, or by a key. `manifest.sig` beside a manifest is its HMAC-SHA256; `sources.json` in the store
that fetches names the files of the keys that it trusts.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from lockstep.errors import ConfigError, ManifestError, StoreFailure, VerbRefused
from lockstep.files import replace_file
from lockstep.models.content import file_content
from lockstep.models.manifest import Manifest, Sha256
from lockstep.models.manifest_file import MANIFEST, locked, manifest_content, manifest_of, store_json
from lockstep.settings import SchemaVersion, Settings, parse_json, validated

SOURCES, SIGNATURE = "sources.json", "manifest.sig"
SCHEMA = 1
_KEY_BYTES = 32
_KEY = re.compile(r"[0-9a-f]{64}\n?")
_SMALL = 1 << 16
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WAY_OUT = (
    "pin the bundle with --sha256, or sign that store and trust its key here (model_keys.py sign, then trust)"
)


class KeySources(Settings):
    """`keys`: name of a source -> path of its key, absolute or from the store's folder."""

    schema_version: SchemaVersion = SCHEMA
    keys: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$", max_length=60)], str] = Field(
        default_factory=dict
    )


class Signature(Settings):
    """What `manifest.sig` holds: which key, and the HMAC-SHA256 (hex) of the manifest's bytes."""

    schema_version: SchemaVersion = SCHEMA
    algorithm: Literal["hmac-sha256"] = "hmac-sha256"
    key: str
    mac: Sha256


class Key(NamedTuple):
    """A secret and its public name, 16 hexadecimal digits."""

    secret: bytes
    id: str

    def mac(self, manifest: bytes) -> str:
        """Return the HMAC of a manifest, hex."""
        return hmac.new(self.secret, b"lockstep manifest\0" + manifest, hashlib.sha256).hexdigest()


def new_key(path: Path) -> Key:
    """Write a new secret key, readable by its owner alone; StoreFailure where the file cannot be made."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(f"{secrets.token_hex(_KEY_BYTES)}\n")
    except OSError as error:
        raise StoreFailure(f"{path}: cannot be made: {error.strerror}; choose another place") from error
    return read_key(path)


def read_key(path: Path) -> Key:
    """Return a key; VerbRefused where the file is none, or others may read or write it."""
    try:
        content = file_content(path, most=_SMALL)
        mode = path.stat(follow_symlinks=False).st_mode
    except OSError as error:
        raise VerbRefused(f"{path}: no key: {error.strerror}; make one: lockstep models keys new") from error
    if mode & _OTHERS:
        raise VerbRefused(f"{path}: mode {stat.S_IMODE(mode):04o}: others may read the key; chmod 600 {path}")
    text = content.decode("ascii", "replace")
    if not _KEY.fullmatch(text):
        raise VerbRefused(f"{path}: holds no key of 64 digits; make one: lockstep models keys new")
    secret = bytes.fromhex(text.strip())
    return Key(secret, hashlib.sha256(b"lockstep key\0" + secret).hexdigest()[:16])


def sign(folder: Path, key: Key) -> None:
    """Sign the manifest of a store as it is now; ManifestError where there is none that can be trusted."""
    with locked(folder):
        content = manifest_content(folder)
        if content is None:
            raise ManifestError(f"{folder / MANIFEST}: is not there; register a model first")
        manifest_of(content, str(folder / MANIFEST))
        signature = Signature(key=key.id, mac=key.mac(content))
        replace_file(folder / SIGNATURE, f"{signature.model_dump_json(indent=2)}\n".encode())


def read_sources(folder: Path) -> KeySources:
    """Return the keys that a store trusts, none without a file; ManifestError where that is wrong."""
    content = store_json(folder / SOURCES)
    try:
        return (
            KeySources() if content is None else validated(KeySources, content, where=str(folder / SOURCES))
        )
    except ConfigError as error:
        raise ManifestError(str(error)) from error


def trust(folder: Path, name: str, path: Path) -> Key:
    """Let a store take what is signed with a key; VerbRefused where the key cannot be used."""
    key = read_key(path)
    with locked(folder):
        known = read_sources(folder)
        try:
            wider = validated(
                KeySources, {"keys": {**known.keys, name: str(path.absolute())}}, where=str(folder / SOURCES)
            )
        except ConfigError as error:
            raise VerbRefused(f"{error}; choose another name") from error
        replace_file(folder / SOURCES, f"{json.dumps(wider.model_dump(), indent=2)}\n".encode())
    return key


def signed_manifest(source: Path, target: Path) -> tuple[Manifest, str]:
    """Return the manifest of a store that `target` trusts, and the name that it has there.

    VerbRefused, which says how to pin it, where it is not signed by such a key or was changed since.
    """
    content, signature = manifest_content(source), _signature(source)
    if content is None or signature is None:
        what = MANIFEST if content is None else SIGNATURE
        raise VerbRefused(f"{source}: has no {what}, so nothing vouches for it; {_WAY_OUT}")
    for name, key in _keys(target):
        if key.id != signature.key:
            continue
        if hmac.compare_digest(key.mac(content), signature.mac):
            return manifest_of(content, str(source / MANIFEST)), name
        raise VerbRefused(
            f"{source}: {MANIFEST} is not what key {key.id} signed; if it was you who changed it, sign it "
            "again there (lockstep models keys sign)"
        )
    raise VerbRefused(
        f"{source}: signed with key {signature.key[:16]!r}, which {target / SOURCES} does not name; "
        f"{_WAY_OUT}"
    )


def _keys(folder: Path) -> Iterator[tuple[str, Key]]:
    for name, path in read_sources(folder).keys.items():
        yield name, read_key(folder / path)


def _signature(folder: Path) -> Signature | None:
    path = folder / SIGNATURE
    try:
        content = file_content(path, most=_SMALL)
        return validated(Signature, parse_json(content), where=str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise VerbRefused(f"{path}: {error.strerror}; {_WAY_OUT}") from error
    except ConfigError as error:
        raise VerbRefused(f"{path}: {' '.join(str(error).split())}; {_WAY_OUT}") from error
