"""What is not measured any more found nothing for a while; whatever finds something is measured on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.processes import ROOT, python
from support.saturation import Saturation


def test_only_what_took_long_and_found_nothing_is_enough() -> None:
    found = Saturation(1.0)
    found.ran("slow", seconds=9.0, found=1)
    assert not found.is_reached("slow")
    found.ran("slow", seconds=0.6, found=0)
    assert not found.is_reached("slow")
    found.ran("other", seconds=0.6, found=0)
    assert not found.is_reached("slow")
    found.ran("slow", seconds=0.6, found=0)
    assert found.is_reached("slow")
    assert not found.is_reached("other")


def test_what_finds_something_begins_anew() -> None:
    found = Saturation(1.0)
    for _ in range(9):
        found.ran("slow", seconds=0.9, found=0)
        found.ran("slow", seconds=0.9, found=1)
        assert not found.is_reached("slow")


TESTS = """
import sys

import pytest
from measured import odd, work


@pytest.mark.parametrize("case", range(6))
def test_one(case):
    work()
    with open("traced", "a") as file:
        file.write("01"[sys.gettrace() is not None])


def test_two():
    assert odd(2) == 0
"""
MEASURED = """
def work():
    total = 0
    for number in range(1_000_000):
        total += number
    return total


def odd(number):
    if number % 2:
        return 1
    return 0
"""


@pytest.mark.parametrize("plugin", [True, False])
def test_later_cases_run_unmeasured_and_no_line_is_lost(tmp_path: Path, plugin: bool) -> None:
    (tmp_path / "measured.py").write_text(MEASURED)
    (tmp_path / "test_it.py").write_text(TESTS)
    loaded = "from support.saturation import Measuring\ndef pytest_configure(config):\n    "
    loaded += "config.pluginmanager.register(Measuring(0.05))\n" if plugin else "pass\n"
    (tmp_path / "conftest.py").write_text(loaded)
    (tmp_path / "setup.cfg").write_text("[coverage:run]\nbranch = True\n")
    environment = {"PYTHONPATH": f"{ROOT / 'tests'}:{tmp_path}", "PATH": "/usr/bin"}
    words = ("-q", "-p", "no:cacheprovider", "--cov=measured", "--cov-report=json")
    done = python("-m", "pytest", *words, "test_it.py", folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = json.loads((tmp_path / "coverage.json").read_text())["files"].values()
    assert file["missing_lines"] == [MEASURED.splitlines().index("        return 1") + 1]
    traced = (tmp_path / "traced").read_text()
    # The second case is the first that finds nothing.
    assert traced == ("110000" if plugin else "111111")
