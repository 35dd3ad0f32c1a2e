"""The hash of the sources that decide the result of a training run."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import lockstep
import research
from lockstep.compiled import source_files

# Of the package, what acts on a finished bundle cannot change it; of research, only these parts can.
_AFTERWARDS = ("live", "monitoring", "portfolio")
_RESEARCH_FILES = ("sweep/", "splits/purged", "splits/walk_forward", "splits/labels")
_REPORTS = ("training/report", "training/page")


@functools.cache
def training_digest() -> str:
    """Return the SHA-256 (hex) of every source file that a bundle depends on, by relative name and content.

    An edit of the live engine or of a report makes no other bundle; any other may.
    """
    digest = hashlib.sha256()
    for path in source_files():
        name = _relevant_name(path)
        if name is not None:
            digest.update(name.encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _relevant_name(path: Path) -> str | None:
    package = Path(lockstep.__file__).resolve().parent
    if path.is_relative_to(package):
        relative = path.relative_to(package)
        return None if relative.parts[0] in _AFTERWARDS else f"lockstep/{relative.as_posix()}"
    name = path.relative_to(Path(research.__file__).resolve().parent).as_posix()
    if name.startswith(("training/", *_RESEARCH_FILES)) and not name.startswith(_REPORTS):
        return f"research/{name}"
    return None
