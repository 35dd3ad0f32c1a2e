"""Compile numeric kernels, with a disk cache that can never serve old rules.

Numba notices a change only in the file of the function it compiles, not in the helpers which that
function calls. The cache therefore lives in a folder whose name is a digest of all sources that can
hold a kernel, of the compiler and of the processor: any edit starts with an empty cache.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import platform
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ParamSpec, TypeVar, cast

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from numba.core import config

from lockstep.files import replace_file
from lockstep.identity import cache_root, text_digest

_numba: Any = config

P = ParamSpec("P")
R = TypeVar("R")

_PACKAGE = Path(__file__).resolve().parent
_RESEARCH = _PACKAGE.parent / "research"
_KEPT_DIGESTS = 8
_DIGEST_LENGTH = 20
_MACHINE_DIGITS = 12

# Kernels are small and call each other in inner loops: inlined, they cost nothing there.
_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "nogil": True,
    "forceinline": True,
    "no_cfunc_wrapper": True,
    "_nrt": True,
}


def source_files() -> list[Path]:
    """Return the Python files that can hold a kernel: this package and, in a checkout, `research`."""
    roots = [_PACKAGE] + ([_RESEARCH] if _RESEARCH.is_dir() else [])
    return sorted(path for root in roots for path in root.rglob("*.py"))


@functools.cache
def source_digest() -> str:
    """Return the SHA-256 (hex) of all source files, by relative name and content, as they are.

    It keys compiled code only, which holds line numbers too; which code decides is told by `identity.py`.
    """
    return _digest(source_files())


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.relative_to(_PACKAGE.parent).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@functools.cache
def machine() -> str:
    """Return what names the arithmetic of this machine: its processor, and a digest of what else rounds.

    Equal names promise equal bits from equal code and libraries: the processor with its features, by which
    compiled code differs, and the C library, whose `log` and `exp` do.
    """
    name = llvmlite.binding.get_host_cpu_name()
    parts = (
        platform.machine(),
        name,
        llvmlite.binding.get_host_cpu_features().flatten(),
        *platform.libc_ver(),
    )
    return f"{name}-{text_digest(chr(10).join(parts))[:_MACHINE_DIGITS]}"


@functools.cache
def cache_directory() -> Path:
    """Return the cache folder for exactly these sources, this compiler and this processor."""
    parts = (
        source_digest(),
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        sys.version,
        platform.machine(),
        llvmlite.binding.get_host_cpu_name(),
        llvmlite.binding.get_host_cpu_features().flatten(),
    )
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_DIGEST_LENGTH]
    folder = cache_root() / "kernels" / key
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _drop_oldest(folder.parent)
    return folder


def _drop_oldest(folder: Path) -> None:
    """Keep the newest digests; another process may be deleting the same ones."""
    stale = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)[:-_KEPT_DIGESTS]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)


_declaring = threading.RLock()


@contextmanager
def _numba_cache_in(folder: Path) -> Iterator[None]:
    """Point numba at `folder` for one declaration, and leave other users of numba alone.

    One at a time: the threads of a sweep declare loops beside each other, and the setting is the process's.
    """
    with _declaring:
        before = _numba.CACHE_DIR
        _numba.CACHE_DIR = str(folder)
        try:
            yield
        finally:
            _numba.CACHE_DIR = before


def is_cached_on_disk(function: Callable[..., Any]) -> bool:
    """Whether the digest covers the function's file, so that its code may be kept on disk."""
    path = Path(function.__code__.co_filename).resolve()
    return any(path.is_relative_to(root) for root in (_PACKAGE, _RESEARCH, cache_directory()))


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` on first use, without reordering of floating-point operations.

    Division by zero follows IEEE 754 when compiled but raises in the Python source, which tests run
    too; a kernel therefore guards its divisions. Functions outside the project's sources are compiled
    but not cached on disk, since the cache key does not know them. With NUMBA_DISABLE_JIT=1 the
    function is returned as it is.
    """
    return _compiled(function, _OPTIONS)


def uncounted(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` as `kernel` does, without counting references to arrays: it may make none.

    Numba counts, one locked instruction each, when an array is handed to a helper or a row of it is taken.
    In a loop over millions of trades that can take longer than everything else.
    """
    return _compiled(function, {**_OPTIONS, "_nrt": False})


def _compiled(function: Callable[P, R], options: dict[str, Any]) -> Callable[P, R]:
    with _numba_cache_in(cache_directory()):
        dispatcher = numba.njit(cache=is_cached_on_disk(function), **options)(function)
    return cast(Callable[P, R], dispatcher)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` into each caller, with the caller's constants; the caller keeps the code on disk."""
    return cast(Callable[P, R], numba.njit(inline="always", **_OPTIONS)(function))


def python_source(function: Callable[P, R]) -> Callable[P, R]:
    """Return the Python function behind a kernel."""
    return cast(Callable[P, R], getattr(function, "py_func", function))


def generated_module(folder: str, name: str, text: str) -> ModuleType:
    """Return the module `text`, kept as a file in the cache directory, where numba can cache its kernels."""
    path = cache_directory() / folder / f"{name}.py"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text, durable=False)
    module_name = f"lockstep_generated_{folder}_{name}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module
