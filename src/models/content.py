"""The bytes of a bundle's file, checked before anything in them is interpreted."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from lockstep.models.atomic import replace_file
from lockstep.models.errors import BundleMissing, HashMismatch, LfsPointer, TruncatedBundle
from lockstep.models.manifest import Evidence
from lockstep.models.pickle_machine import MOST_BYTES

_LFS = b"version https://git-lfs"


def sha256_of(content: bytes) -> str:
    """Return the SHA-256 (hex)."""
    return hashlib.sha256(content).hexdigest()


def file_content(path: Path, *, most: int = MOST_BYTES) -> bytes:
    """Return the content of a regular file of at most `most` bytes.

    OSError where it is a symbolic link, which may lead out of the folder, or a pipe or device, which may not
    end, or is larger: `strerror` says so.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "is a symbolic link; put the file itself there", str(path)) from error
        raise
    with os.fdopen(handle, "rb") as stream:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        if found.st_size > most:
            raise OSError(errno.EFBIG, f"{found.st_size} bytes, at most {most} are read", str(path))
        return stream.read(most)


def verified_content(path: Path, *, expected_sha256: str | None, expected_size: int | None = None) -> bytes:
    """Return the content of a bundle's file.

    Raises: BundleMissing, LfsPointer, TruncatedBundle or HashMismatch, checked in this order.
    """
    try:
        content = file_content(path)
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise BundleMissing(f"{path}: {reason}; fetch the bundle, or rebuild it from its record") from error
    if content.startswith(_LFS):
        raise LfsPointer(f"{path}: a Git LFS pointer, not the bundle; run `git lfs pull`")
    if not content or expected_size not in (None, len(content)):
        raise TruncatedBundle(
            f"{path}: {len(content)} bytes, expected {expected_size or 'more'}; fetch the bundle again"
        )
    found = sha256_of(content)
    if expected_sha256 not in (None, found):
        raise HashMismatch(
            f"{path}: SHA-256 {found[:12]}…, registered was {str(expected_sha256)[:12]}…: not the registered "
            "file; fetch it again, or rebuild it from its record"
        )
    return content


def copy_reports(source: Path, target: Path, evidence: Iterable[Evidence]) -> None:
    """Copy the reports of `evidence` that lie in the store `source`; HashMismatch where one was changed."""
    for each in evidence:
        relative = Path(each.file)
        outside = relative.is_absolute() or ".." in relative.parts
        if outside or not (source / relative).is_file():
            continue
        content = verified_content(source / relative, expected_sha256=each.file_sha256 or None)
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        replace_file(target / relative, content)
