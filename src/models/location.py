"""Where the model store is, and how its files are called."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lockstep.models.manifest import VETO

_PACKAGE = Path(__file__).resolve().parents[1]


def default_folder() -> Path:
    """Return `LOCKSTEP_MODEL_STORE`, else `src/models` of a checkout, else a folder of the user's data."""
    declared = os.environ.get("LOCKSTEP_MODEL_STORE")
    if declared:
        return Path(declared)
    if (_PACKAGE.parent / "setup.cfg").is_file():
        return _PACKAGE / "models"
    root = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return root / "lockstep" / "models"


def bundle_file(symbol: str, name: str, version: str) -> str:
    """Return `ES_v3.joblib`, or `ES_regime_v3.joblib` for a model that is not the IBS strategy's veto."""
    return f"{_stem(symbol, name)}_{version}.joblib"


def next_version(folder: Path, symbol: str, name: str, taken: list[str]) -> str:
    """Return the version after all that the manifest or the folder holds; a file is never overwritten."""
    pattern = re.compile(rf"{re.escape(_stem(symbol, name))}_v([1-9]\d*)\.joblib")
    files = (pattern.fullmatch(path.name) for path in folder.glob("*.joblib"))
    numbers = [int(version[1:]) for version in taken] + [int(found.group(1)) for found in files if found]
    return f"v{max(numbers, default=0) + 1}"


def _stem(symbol: str, name: str) -> str:
    return symbol if name == VETO else f"{symbol}_{name}"
