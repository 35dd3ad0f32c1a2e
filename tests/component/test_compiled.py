"""The compile cache: keyed by all sources, so that an edit can never go on with old rules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import pytest
from numba.core import config as numba_config

from lockstep import compiled

SOURCES = Path(compiled.__file__).resolve().parent
PROGRAM = """
import numpy as np
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.features.driver import driver
declared = FeatureRegistry().parse("zscore_3").terms[0].feature
out = np.empty(3)
driver(declared)(np.array([0.0, 0.0, 3.0]), 3, 3, 0, 3, out, 0)
hits = sum(driver(declared).stats.cache_hits.values())
print(round(float(out[2]), 6), hits)
"""
RULE = "total / values.size))"
EDITED = "4.0 * total / values.size))"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the sources, importable as `lockstep` from a folder of its own."""
    shutil.copytree(SOURCES, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "lockstep").symlink_to(tmp_path / "src", target_is_directory=True)
    return tmp_path


def run(checkout: Path) -> tuple[float, int]:
    """Return (value, cache hits) as a fresh process finds them."""
    known = {
        name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "COVERAGE_"))
    }
    environment = known | {
        "PYTHONPATH": str(checkout / "path"),
        "LOCKSTEP_CACHE_DIR": str(checkout / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=checkout, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    value, hits = finished.stdout.split()
    return float(value), int(hits)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_after_an_edit_of_a_helper_a_warm_rerun_uses_the_new_code(checkout: Path) -> None:
    """z of the third of 0, 0, 3 is sqrt 2; with a doubled deviation it is half of that."""
    assert run(checkout) == (1.414214, 0)
    assert run(checkout) == (1.414214, 1), "the second run must be warm, or this test shows nothing"
    edit(checkout / "src" / "features" / "windows.py", RULE, EDITED)
    assert run(checkout) == (0.707107, 0)


def test_a_cache_that_ignores_the_helpers_goes_on_with_the_old_code(checkout: Path) -> None:
    """The negative control: with the digest frozen, the edit above has no effect."""
    frozen = "    return 'frozen'\n    digest = hashlib.sha256()\n    for path in paths:"
    plain = "    digest = hashlib.sha256()\n    for path in paths:"
    edit(checkout / "src" / "compiled.py", plain, frozen)
    assert run(checkout) == (1.414214, 0)
    edit(checkout / "src" / "features" / "windows.py", RULE, EDITED)
    assert run(checkout) == (1.414214, 1)


def test_the_digest_covers_every_source_of_the_package() -> None:
    names = {
        path.relative_to(SOURCES).as_posix() for path in compiled.source_files() if SOURCES in path.parents
    }
    assert {"compiled.py", "features/windows.py", "features/catalogue/trend.py", "market/bars.py"} <= names


def test_old_digests_are_dropped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The eight newest folders stay, the one in use among them."""
    monkeypatch.setenv("LOCKSTEP_CACHE_DIR", str(tmp_path))
    for age in range(12):
        folder = tmp_path / "kernels" / f"old{age}"
        folder.mkdir(parents=True)
        os.utime(folder, (1e9 - age, 1e9 - age))
    compiled.cache_directory.cache_clear()
    try:
        used = compiled.cache_directory()
        kept = {folder.name for folder in (tmp_path / "kernels").iterdir()}
    finally:
        compiled.cache_directory.cache_clear()
    assert kept == {used.name, *(f"old{age}" for age in range(7))}


def test_another_users_numba_cache_is_left_alone() -> None:
    before = numba_config.CACHE_DIR

    @compiled.kernel
    def doubled(value: float) -> float:
        return 2.0 * value

    assert doubled(2.0) == 4.0
    assert numba_config.CACHE_DIR == before


def test_threads_declare_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the setting of one is put back while another declares, code is kept in the working directory."""
    found: list[str] = []

    def slow(**_: object) -> Callable[[object], object]:
        found.append(numba_config.CACHE_DIR)
        time.sleep(0.01 * len(found))
        found.append(numba_config.CACHE_DIR)
        return lambda function: function

    monkeypatch.setattr(numba, "njit", slow)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(compiled.kernel, [_half] * 8))
    assert found == [str(compiled.cache_directory())] * 16


def _half(value: float) -> float:
    return value / 2.0


def test_functions_outside_the_sources_are_not_kept_on_disk() -> None:
    def here(value: float) -> float:
        return value

    assert not compiled.is_cached_on_disk(here)
    assert compiled.is_cached_on_disk(compiled.is_cached_on_disk)


def test_the_python_source_of_a_kernel() -> None:
    def plain(value: float) -> float:
        return value / 2.0

    assert compiled.python_source(compiled.kernel(plain)) is plain
    assert compiled.python_source(plain) is plain


def test_kernels_divide_by_ieee_rules() -> None:
    """A guard that is missing shows as inf in compiled code, and as an error in its Python source."""

    def divide(value: float, by: float) -> float:
        return value / by

    fast = compiled.kernel(divide)
    if isinstance(fast, numba.core.dispatcher.Dispatcher):
        assert fast(1.0, 0.0) == float("inf")
    with pytest.raises(ZeroDivisionError):
        compiled.python_source(fast)(1.0, 0.0)
