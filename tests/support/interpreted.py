"""Run kernels as the Python they are written in."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from lockstep.compiled import python_source


def interpreted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the Python function behind a kernel, calling the Python functions behind its helpers."""
    return _interpreted(python_source(function), {})


def _interpreted(source: Any, known: dict[Any, Any]) -> Callable[..., Any]:
    if source in known:
        return known[source]
    scope: dict[str, Any] = {}
    twin = FunctionType(source.__code__, scope, source.__name__, source.__defaults__, source.__closure__)
    known[source] = twin
    for name, value in source.__globals__.items():
        is_kernel = hasattr(value, "py_func")
        scope[name] = _interpreted(value.py_func, known) if is_kernel else value
    return twin
