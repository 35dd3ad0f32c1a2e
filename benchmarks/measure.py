"""Time and memory of functions and of whole processes."""

from __future__ import annotations

import importlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.identity import PACKAGES, SourceTree

ROOT = Path(__file__).resolve().parents[1]
_RUNS = 5


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One line of the report: a value, its unit, the promise and whether it holds."""

    what: str
    value: float
    unit: str
    promise: float
    note: str = ""
    more_is_better: bool = False

    @property
    def kept(self) -> bool:
        """Whether the promise holds."""
        return self.value >= self.promise if self.more_is_better else self.value <= self.promise


def seconds(function: Callable[[], object], runs: int = _RUNS) -> float:
    """Return the median wall time of `function`, after one call that is not counted."""
    function()
    return statistics.median(once(function) for _ in range(runs))


def once(function: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def least_cpu(function: Callable[[], object], runs: int = 3) -> float:
    """Return the least processor time of `runs` calls, after one that is not counted."""
    function()

    def spent() -> float:
        start = time.process_time()
        function()
        return time.process_time() - start

    return min(spent() for _ in range(runs))


def ratio(
    first: Callable[[], object], second: Callable[[], object], runs: int = _RUNS
) -> tuple[float, float, float]:
    """Return (median ratio first / second, median of each), measured in turns after one warm-up each."""
    first()
    second()
    pairs = [(once(first), once(second)) for _ in range(runs)]
    return (
        statistics.median(a / b for a, b in pairs),
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
    )


def process(code: str, environment: dict[str, str] | None = None) -> str:
    """Run `code` in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout.strip()


def of_tests(name: str) -> Any:
    """Return a module of the tests, which are no package of the product."""
    folder = str(ROOT / "tests")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


def sources_with_tests() -> SourceTree:
    """Return the sources of our packages and of the tests' simulations, for a hash of what a module runs."""
    ours = {name: ROOT / ("src" if name == "lockstep" else name) for name in PACKAGES}
    return SourceTree.at({**ours, **{name: ROOT / "tests" / name for name in ("simulation", "support")}})
