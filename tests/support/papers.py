"""A desk in mode paper that has traded: its store, its configuration and its journal, made once."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import yaml

from lockstep.models.store import ModelStore
from support import desks
from support.models import RECORD

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 2, tzinfo=UTC)
START, END = "2016-01-04", "2016-03-31"


def store(folder: Path, *seeds: int) -> ModelStore:
    """Return a store with a version of COMP per seed, the first of them in production."""
    folder.mkdir(parents=True, exist_ok=True)
    found = ModelStore(folder)
    for seed in seeds or (0,):
        found.register(desks.bundle("COMP", seed=seed), record=RECORD, by="me", now=NOW)
    found.promote("COMP", "v1", by="me", now=NOW, reason="test", force=True)
    return found


def config(folder: Path, **changes: object) -> Path:
    """Write a configuration of a desk in `folder` and return it."""
    paths = {name: str(folder / name) for name in ("mailbox", "KILL", "HALT", "status.json", "live.db")}
    content = {
        "mode": "paper",
        "store": str(folder / "store"),
        "journal": paths["live.db"],
        "status": paths["status.json"],
        "mailbox": paths["mailbox"],
        "instruments": [{"symbol": "COMP"}],
        "feeds": [{"kind": "replay", "start": START, "end": END}],
        "grace": 0,
        "limits": {
            "max_contracts": 100,
            "max_total_contracts": 100,
            "max_orders_per_day": 100,
            "max_daily_loss": 1e9,
            "collar": {"percent": 50.0},
            "stale_seconds": 1e9,
        },
        "switches": {"kill_file": paths["KILL"], "halt_file": paths["HALT"]},
    }
    path = folder / "live.yml"
    path.write_text(yaml.safe_dump({**content, **changes}), encoding="utf-8")
    return path


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the project."""
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
