"""The project's own sources, parsed once for all tests of a process that look into them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("src", "research", "certify", "operations", "scripts")


def trees() -> Mapping[str, ast.Module]:
    """Return every module of ours, by its path from the checkout; not to be changed.

    Parsing takes seconds, which is why no test module does it while it is collected.
    """
    return trees_of(*FOLDERS)


@functools.cache
def trees_of(*folders: str) -> Mapping[str, ast.Module]:
    """Return the modules of some folders, by their path from the checkout; not to be changed."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return MappingProxyType(
        {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    )
