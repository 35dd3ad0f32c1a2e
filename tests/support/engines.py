"""Run folders of two engines side by side."""

from __future__ import annotations

import json
from pathlib import Path


def folders_but_for_the_engine(out: Path) -> dict[str, dict[str, bytes]]:
    """Return the files of each run folder in `out`; of a provenance all but the engine."""
    return {folder.name: _files(folder) for folder in out.iterdir() if folder.is_dir()}


def _files(folder: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    content = json.loads(found["provenance.json"])
    assert content.pop("engine") in ("backtrader", "compiled")
    return found | {"provenance.json": json.dumps(content).encode()}
