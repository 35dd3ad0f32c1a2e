"""Cases of one test that need no measuring any more: for a while, none of them ran a line that is new."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Generator
from typing import Any

import pytest

# Seconds of processor time. Quick tests are measured always: they cost nothing.
ENOUGH = 0.5


class Saturation:
    """Says of each test function whether its cases, one after the other, still find what was not covered."""

    def __init__(self, enough: float) -> None:
        self._enough = enough
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def is_reached(self, function: str) -> bool:
        """Whether the last cases took long enough and added nothing."""
        return self._seconds[function] > self._enough

    def ran(self, function: str, *, seconds: float, found: int) -> None:
        """Take note of a measured case: how long it took and how many steps from line to line are new."""
        self._seconds[function] = 0.0 if found else self._seconds[function] + seconds


class Measuring:
    """The plugin that leaves such cases unmeasured: a case more is still run, and still has to pass."""

    def __init__(self, enough: float = ENOUGH) -> None:
        self._saturation = Saturation(enough)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        plugin: Any = item.config.pluginmanager.getplugin("_cov")
        if plugin is None or plugin.cov_controller is None or item.get_closest_marker("no_cover"):
            return (yield)
        function = item.nodeid.partition("[")[0]
        if self._saturation.is_reached(function):
            item.add_marker(pytest.mark.no_cover)
            return (yield)
        data = plugin.cov_controller.cov._collector.data
        known, began = _steps(data), time.process_time()
        result = yield
        self._saturation.ran(function, seconds=time.process_time() - began, found=_steps(data) - known)
        return result


def _steps(data: dict[str, Any]) -> int:
    return sum(map(len, data.values()))
