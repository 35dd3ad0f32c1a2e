"""The bytes of a bundle's file, checked before anything in them is interpreted."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from lockstep.errors import BundleMissing, HashMismatch, LfsPointer, TruncatedBundle, VerbRefused
from lockstep.files import replace_file
from lockstep.models.manifest import Evidence

MOST_BYTES = 256 << 20
REPORTS = "reports"
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


def verified_reports(source: Path, target: Path, evidence: Iterable[Evidence]) -> dict[Path, bytes]:
    """Return the reports of `evidence` that lie in the store `source`, by their places in `target`.

    Those that are there already with the same content are left out, and so is what lies outside `reports/`:
    no report may take the place of another file of the store.

    Raises: HashMismatch where a report was changed or has no hash, VerbRefused where its path leads out of
    the folder or another one is in its place.
    """
    found = {}
    for each in evidence:
        relative = PurePosixPath(each.file)
        if ".." in relative.parts:
            raise VerbRefused(
                f"{source}: report {each.file!r}: leads outside the store; attach it again there"
            )
        if relative.parts[:1] != (REPORTS,) or not (source / relative).is_file():
            continue
        if any((source / part).is_symlink() for part in (relative, *relative.parents)):
            raise VerbRefused(
                f"{source / relative}: is reached by a symbolic link; put the file itself there"
            )
        if not each.file_sha256:
            raise HashMismatch(f"{source / relative}: the manifest has no hash of it; attach it again there")
        content = verified_content(source / relative, expected_sha256=each.file_sha256)
        place = target / relative
        if not place.exists():
            found[place] = content
        elif sha256_of(place.read_bytes()) != each.file_sha256:
            raise VerbRefused(f"{place}: exists with different content; move it away")
    return found


def write_reports(reports: Mapping[Path, bytes]) -> None:
    """Write reports to their places; StoreFailure where the disk refuses."""
    for place, content in reports.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        replace_file(place, content)
