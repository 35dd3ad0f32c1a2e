"""What names the code and the environment of a training run: commit, lock file, versions."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import research

LOCK = "requirements.lock"
_LIBRARIES = ("lightgbm", "numba", "numpy", "scikit-learn", "scikit-optimize", "scipy", "xgboost-cpu")


def checkout_root() -> Path | None:
    """Return the folder of the checkout that this code is of, None where it is installed from a wheel."""
    root = Path(research.__file__).resolve().parents[1]
    return root if (root / "setup.cfg").is_file() else None


def code_revision(root: Path | None) -> str:
    """Return the commit that is checked out at `root`, or "" where git knows of none."""
    if root is None:
        return ""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def lock_hash(root: Path | None) -> str:
    """Return the SHA-256 (hex) of the lock file at `root`, or "" where there is none."""
    path = None if root is None else root / LOCK
    return hashlib.sha256(path.read_bytes()).hexdigest() if path and path.is_file() else ""


def library_versions() -> dict[str, str]:
    """Return the versions that decide the bits of a model, those that are installed."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
