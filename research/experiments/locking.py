"""One process at a time works on an experiment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from lockstep.identity import cache_root
from research.experiments.database import Database
from research.experiments.errors import ExperimentError


@contextmanager
def only_one(database: Database, number: int) -> Iterator[None]:
    """Hold the experiment's lock on this machine; ExperimentError where another process has it."""
    folder = cache_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    url = database.engine.url.render_as_string(hide_password=True)
    lock = FileLock(folder / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{number}.lock", timeout=0)
    try:
        with lock:
            yield
    except Timeout as error:
        raise ExperimentError(
            f"experiment {number}: another process is working on it; let it finish"
        ) from error
