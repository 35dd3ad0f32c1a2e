"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real bars that lies beside the checkout; the test is skipped where it is absent."""
    declared = os.environ.get("LOCKSTEP_SHARED_DATA")
    folder = Path(declared) if declared else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real bars at {folder}; set LOCKSTEP_SHARED_DATA to their folder")
    return folder


def pytest_configure(config: pytest.Config) -> None:
    """Let the calendar library use what pandas will change one day; all other warnings are errors."""
    config.addinivalue_line("filterwarnings", "ignore:Series.values returning an ndarray:DeprecationWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the real bars."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_data)
