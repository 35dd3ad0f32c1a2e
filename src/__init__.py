"""Lockstep: what you backtest is exactly what trades live, and you can prove it.

Importing the package loads none of the heavy libraries; each part brings its own. `lockstep.tearsheet` is the
tear sheet of anybody's results, loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from research.report.external import tearsheet as tearsheet

__version__ = "0.1.0"

# Research is built on this package: a plain import of it here would be a circle.
_LATER = {"tearsheet": "research.report.external"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'lockstep' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
