"""Kill a small night at random writes, complete it, and compare what is left with a night that nobody killed.

    night_kills.py FOLDER COUNT SEED

A program of its own, without threads: each night is a fork that dies by SIGKILL before or after one of its
writes, half of the time in the middle of a transaction, and another fork that goes on. Prints JSON.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import operations.nightly.pipeline  # noqa: F401  (imported once, before the forks)
from research.pipeline.execution import digest_of
from support.kills import NEVER, counting, lived
from support.nights import dump, nights, space

_LOCKS = ("running.json", "night.lock", ".STRATEGY_LOG.md.lock")


def config() -> dict[str, Any]:
    """Return a night that registers its winner, whatever its history is worth."""
    tiny = space(parameters={"entry.high": [0.1, 0.2, 0.3], "max_bars": [3, 5, 8, 10]}, per_night=6)
    return {"spaces": [tiny], "registrations": {"least_history": 0.0, "least_trades": 0}}


def made(folder: Path, at: int = NEVER) -> bool:
    """Make the night of a folder in a fork that may die; whether it lived."""
    folder.mkdir(exist_ok=True)
    child = os.fork()
    if not child:
        counted = counting(at)
        nights(folder, **config()).make()
        (folder.parent / "writes").write_text(str(counted()))
        os._exit(0)
    return lived(child)


def left(folder: Path) -> tuple[Any, str]:
    """Return all rows, and a digest of the files, without locks."""
    for name in _LOCKS:
        for path in folder.rglob(name):
            path.unlink()
    log = (folder / "STRATEGY_LOG.md").read_text()
    files = [digest_of(folder / "results" / "steps"), log.replace(str(folder), "")]
    return dump(folder / "experiments.db"), json.dumps(files)


def main(place: Path, count: int, seed: int) -> dict[str, Any]:
    """Kill `count` nights; which of them were left otherwise, and the tables that differ."""
    # The first one leaves caches outside of its folder.
    assert made(place / "night")
    shutil.rmtree(place / "night")
    assert made(place / "night")
    whole, writes = left(place / "night"), int((place / "writes").read_text())
    drawn = random.Random(seed).sample(range(1, writes + 1), min(count, writes))
    different: dict[int, list[str]] = {}
    for at in drawn:
        shutil.rmtree(place / "night")
        assert not made(place / "night", at), at
        assert made(place / "night")
        rows, files = left(place / "night")
        found = [name for name in rows if rows[name] != whole[0][name]]
        if found or files != whole[1]:
            different[at] = [*found, *(["files"] if files != whole[1] else [])]
    registered, effects = len(whole[0]["candidate"]), len(whole[0]["effect"])
    return {"writes": writes, "killed": len(drawn), "different": different, "candidates": registered,
            "effects": effects}  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
