"""What coverage need not look at: tracing doubles the time of Python, the compiler of kernels included."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def untraced(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function during which coverage's tracer rests; it may call nothing that is measured.

    Other tracers, a debugger's for one, go on. The tracer is stopped and started in one frame: it keeps a
    stack of frames, and would lose its place by the end of a frame that it saw begin, or the other way round.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        tracer: Any = sys.gettrace()
        if type(tracer).__name__ != "CTracer":
            return function(*args, **kwargs)
        tracer.stop()
        try:
            return function(*args, **kwargs)
        finally:
            tracer.start()

    return call


@functools.cache
def untrace_the_compiler() -> None:
    """Let numba compile, and read and write its files, without being traced: it runs no code of ours."""
    from numba.core.dispatcher import Dispatcher

    Dispatcher.compile = untraced(Dispatcher.compile)
