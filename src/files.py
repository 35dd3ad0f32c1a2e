"""Files and folders that are replaced in one step: a reader, or a crash, sees the old content or the new."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lockstep.errors import LockstepError, StoreFailure

_READABLE_FOLDER = 0o755


def replace_file(
    path: Path, content: bytes | str, *, durable: bool = True, error: type[LockstepError] = StoreFailure
) -> Path:
    """Replace a file by `content` (text is written as UTF-8, line ends as they are) and return `path`.

    error     raised where that cannot be done (a full disk, no permission); then `path` is as it was
    durable   whether the content is on the disk before this returns; a cache can do without
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        with replacing(path, durable=durable) as temporary:
            _write(temporary, data)
    except OSError as failure:
        reason = failure.strerror or type(failure).__name__
        raise error(f"{path}: cannot be written: {reason}; nothing was changed") from failure
    return path


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield the name of a file beside `path`; what the block writes there replaces `path` when it ends.

    A block that fails leaves `path` as it was, and nothing beside it. OSError where the file cannot be
    written, synced or renamed. Without `durable`, a crash of the machine may lose the new content.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers.txt"
        >>> with replacing(path) as temporary:
        ...     _ = temporary.write_text("1 2 3")
        >>> path.read_text()
        '1 2 3'
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    if durable:
        _sync_renamed(path.parent)


@contextmanager
def replacing_folder(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield an empty folder beside `path` that replaces `path` when the block ends.

    A block that fails leaves `path` as it was, and nothing beside it. Likewise for OSError and `durable`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    old = temporary.with_suffix(".old")
    try:
        yield temporary
        temporary.chmod(_READABLE_FOLDER)
        if durable:
            sync_tree(temporary)
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(old, ignore_errors=True)
    if durable:
        _sync_renamed(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove what writers of `path` that were killed have left; only while nobody else may write it."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        leftover.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring a file or the entries of a folder to the disk; OSError where that fails."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Bring a folder, and all files and folders in it, to the disk."""
    for path in (*folder.rglob("*"), folder):
        sync(path)


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
    finally:
        os.close(handle)


def _sync_renamed(folder: Path) -> None:
    """Bring the rename to the disk. It has happened: a folder that cannot be synced undoes nothing."""
    with suppress(OSError):
        sync(folder)
