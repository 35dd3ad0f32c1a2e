"""`src.…` names the modules of `lockstep`: one class each, whichever name it was imported by."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lockstep
from lockstep.market.timeframe import Timeframe
from lockstep.source_alias import alias_source_folder

SOURCES = Path(str(lockstep.__file__)).resolve().parent


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave the names of this process as they were."""
    finders, modules = list(sys.meta_path), dict(sys.modules)
    yield
    sys.meta_path[:] = finders
    for name in [name for name in sys.modules if name == "src" or name.startswith("src.")]:
        del sys.modules[name]
    sys.modules.update({name: each for name, each in modules.items() if name.startswith("src")})


def test_a_class_is_the_same_by_both_names() -> None:
    alias_source_folder(SOURCES)
    alias_source_folder(SOURCES)
    found = importlib.import_module("src.market.timeframe")
    assert found.Timeframe is Timeframe
    assert found.__spec__ is not None
    assert found.__spec__.name == "lockstep.market.timeframe"
    assert sys.modules["src"] is lockstep
    assert sum(type(each).__name__ == "_Alias" for each in sys.meta_path) == 1


def test_what_lockstep_lacks_src_lacks_too() -> None:
    alias_source_folder(SOURCES)
    with pytest.raises(ModuleNotFoundError, match=r"src\.market\.nothing"):
        importlib.import_module("src.market.nothing")


def test_another_copy_of_the_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ImportError, match="another copy of it; import from lockstep, or install this checkout"
    ):
        alias_source_folder(tmp_path)
