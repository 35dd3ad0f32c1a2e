"""Run folders of two engines side by side."""

from __future__ import annotations

import json
from pathlib import Path


def folders_but_for_the_engine(out: Path) -> dict[str, dict[str, bytes]]:
    """Return the files of each run folder in `out`, lanes included; of a provenance all but the engine."""
    return {
        folder.name: {
            path.relative_to(folder).as_posix(): _content(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        for folder in out.iterdir()
        if folder.is_dir()
    }


def _content(path: Path) -> bytes:
    if path.name != "provenance.json":
        return path.read_bytes()
    content = json.loads(path.read_bytes())
    assert content.pop("engine") in ("backtrader", "compiled")
    return json.dumps(content).encode()
