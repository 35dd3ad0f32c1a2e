"""What every test may ask for."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support.saturation import Measuring
from support.untraced import untrace_others

# No instruments file and no desk of whoever runs the tests: neither here nor in processes that tests start.
os.environ["LOCKSTEP_INSTRUMENTS"] = ""
os.environ["LOCKSTEP_HOME"] = ""
# Nor their trial ledger: a backtest looks into it, and a look at sealed dates is written into it.
_DATA = tempfile.TemporaryDirectory(prefix="lockstep-data-")
os.environ["XDG_DATA_HOME"] = _DATA.name
# How long an example takes says how busy the machine is.
settings.register_profile("lockstep", deadline=None)
settings.load_profile("lockstep")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real bars that lies beside the checkout; the test is skipped where it is absent."""
    declared = os.environ.get("LOCKSTEP_SHARED_DATA")
    folder = Path(declared) if declared else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real bars at {folder}; set LOCKSTEP_SHARED_DATA to their folder")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """Fail a module that leaves the engine's logger quieter or louder for the modules after it."""
    logger = logging.getLogger("lockstep")
    before = logger.level, logger.disabled, logger.propagate
    yield
    after = logger.level, logger.disabled, logger.propagate
    logger.setLevel(before[0])
    _, logger.disabled, logger.propagate = before
    assert after == before, f"logger lockstep is left changed: {after}, was {before}"


def pytest_configure(config: pytest.Config) -> None:
    """Let the calendar library use what pandas will change one day; all other warnings are errors."""
    config.addinivalue_line("filterwarnings", "ignore:Series.values returning an ndarray:DeprecationWarning")
    config.pluginmanager.register(Measuring())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the real bars, and what is measured when it runs as plain Python."""
    is_compiled = os.environ.get("NUMBA_DISABLE_JIT") != "1"
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_data)
        if is_compiled and item.get_closest_marker("uncompiled"):
            item.add_marker(pytest.mark.no_cover)


def pytest_collection_finish() -> None:
    """Spare the tests what grows with their number: looking through all of them for garbage, again and again.

    Nor does coverage look on while others work for long: there is no line of ours to be seen.
    """
    gc.collect()
    gc.freeze()
    if "lockstep" in sys.modules:
        untrace_others()
