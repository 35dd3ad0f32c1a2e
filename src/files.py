"""Files that are replaced in one step: a reader, or a crash, sees the old content or the new."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from lockstep.errors import StoreFailure


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to a file beside `path`, bring it to the disk, and rename it to `path`.

    StoreFailure where that cannot be done (a full disk, no permission); then `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        _write(temporary, content)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        reason = error.strerror or type(error).__name__
        raise StoreFailure(f"{path}: cannot be written: {reason}; nothing was changed") from error
    _sync_folder(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove what writers of `path` that were killed have left; only while nobody else may write it."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        leftover.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Bring the rename to the disk. It has happened: a folder that cannot be synced undoes nothing."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
