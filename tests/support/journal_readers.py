"""Processes beside an engine: `journal_readers.py polls|locks|dies JOURNAL`.

polls   looks at the journal as a monitor does, twenty times a second: PRAGMA data_version, then short whole
        queries up to one newest sequence; locks   takes the write lock again and again, which no reader may
dies    looks once and ends
"""

from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path

_EVERY = 0.05


def main(kind: str, path: Path) -> None:
    """Look until somebody ends the process; the file monitor.db says that it began."""
    connection = sqlite3.connect(path.resolve().as_uri(), uri=True, isolation_level=None, timeout=30.0)
    seen, version = 0, -1
    path.with_name("monitor.db").touch()
    while kind != "dies":
        if kind == "locks":
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(_EVERY)
            connection.execute("ROLLBACK")
            time.sleep(_EVERY / 10)
            continue
        (now,) = connection.execute("PRAGMA data_version").fetchone()
        if now != version:
            version = now
            (newest,) = connection.execute("SELECT max(sequence) FROM sets").fetchone()
            query = "SELECT sequence, stamp FROM sets WHERE sequence > ? AND sequence <= ?"
            connection.execute(query, (seen, newest or 0)).fetchall()
            seen = newest or 0
        time.sleep(_EVERY)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
