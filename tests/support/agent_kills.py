"""Kill a small session at every write, complete it, and compare what is left with one that nobody killed.

    agent_kills.py FOLDER

A program of its own, without threads: see `night_kills.py`. Prints JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from lockstep.market.history import History
from support.agent_sessions import bars_of_few, book_in, made_in
from support.kills import NEVER, counting, lived
from support.nights import dump

SMALL: dict[str, Any] = {"strategies": 6, "kinds": {"technical": 2, "ml": 2}}


def made(folder: Path, history: History, at: int = NEVER) -> bool:
    """Make the session of a folder in a fork that may die; whether it lived."""
    child = os.fork()
    if not child:
        counted = counting(at)
        made_in(folder, history, **SMALL)
        (folder.parent / "writes").write_text(str(counted()))
        os._exit(0)
    return lived(child)


def main(place: Path) -> dict[str, Any]:
    """Kill a session at each of its writes; which of them left other rows, and the tables that differ."""
    history, folder, empty = bars_of_few(), place / "session", place / "empty"
    # To make the tables takes longer than the session.
    empty.mkdir()
    book_in(empty)
    # Forks find in memory what this one has imported and worked out.
    made_in(place / "warm", history, **SMALL)
    shutil.copytree(empty, folder)
    assert made(folder, history)
    whole, writes = dump(folder / "agents.db"), int((place / "writes").read_text())
    different: dict[int, list[str]] = {}
    for at in range(1, writes + 1):
        shutil.rmtree(folder)
        shutil.copytree(empty, folder)
        assert not made(folder, history, at), at
        assert made(folder, history)
        rows = dump(folder / "agents.db")
        if found := [name for name in rows if rows[name] != whole[name]]:
            different[at] = found
    counts = {name: len(whole[name]) for name in ("agent_proposal", "agent_outcome", "agent_event", "ledger")}
    return {"writes": writes, "different": different, **counts}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
