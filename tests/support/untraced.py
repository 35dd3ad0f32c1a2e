"""What coverage need not look at: tracing doubles the time of Python, the compiler of kernels included."""

from __future__ import annotations

import functools
import os
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
        tracer = _tracer()
        if tracer is None:
            return function(*args, **kwargs)
        tracer.stop()
        try:
            return function(*args, **kwargs)
        finally:
            tracer.start()

    return call


def _tracer() -> Any:
    tracer = sys.gettrace()
    return tracer if type(tracer).__name__ == "CTracer" else None


def _rest() -> None:
    if _tracer() is not None:
        sys.settrace(None)


@functools.cache
def untrace_others() -> None:
    """Let others work unseen, where they take long and run no code of ours; and children of this process.

    The compiler of kernels, which also reads and writes their files; the statements of a database, during
    which no event of ours is called; forks, whose data nobody keeps.
    """
    from numba.core.dispatcher import Dispatcher
    from sqlalchemy import Connection

    Dispatcher.compile = untraced(Dispatcher.compile)
    Connection.execute = untraced(Connection.execute)
    Connection.exec_driver_sql = untraced(Connection.exec_driver_sql)
    os.register_at_fork(after_in_child=_rest)
