"""`src.…` in a checkout gives the same objects as `lockstep.…`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, *flags: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        cwd=cwd, env={**os.environ, "PYTHONWARNINGS": "error"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("first", ["src", "lockstep"])
def test_classes_and_registries_are_the_same(first: str) -> None:
    """Whichever is imported first, in one process."""
    second = {"src": "lockstep", "lockstep": "src"}[first]
    done = python(f"""
import importlib, pickle
from {first}.strategy.ibs_strategy import IbsStrategy as one
from {second}.strategy.ibs_strategy import IbsStrategy as two
assert one is two, (one, two)
import src, lockstep, src.market.timeframe as frame
assert src is lockstep and src.strategy is lockstep.strategy
assert frame is lockstep.market.timeframe
assert frame.__name__ == "lockstep.market.timeframe" == frame.__spec__.name
from src.features.feature_registry import default_registry
from lockstep.features import feature_registry
assert default_registry is feature_registry.default_registry
assert default_registry() is feature_registry.default_registry()
from src.errors import ConfigError
try:
    raise lockstep.errors.ConfigError("x")
except ConfigError:
    pass
content = pickle.dumps(frame.Timeframe.parse("1h"), 0)
assert b"lockstep.market.timeframe" in content and b"src" not in content
assert pickle.loads(content.replace(b"clockstep.", b"csrc.")) == pickle.loads(content)
assert importlib.reload(frame) is frame
print("same")
""")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "same\n"


def test_without_the_alias_they_are_two() -> None:
    """Negative control: what the alias mends."""
    done = python("""
import sys, importlib.util
spec = importlib.util.spec_from_file_location("other", "src/market/timeframe.py")
other = importlib.util.module_from_spec(spec); sys.modules["other"] = other; spec.loader.exec_module(other)
from lockstep.market.timeframe import Timeframe
assert not isinstance(other.Timeframe.parse("1h"), Timeframe)
print("two")
""")
    assert done.stdout == "two\n", done.stderr


def test_what_there_is_not_is_said_as_ever() -> None:
    done = python("import src.strategy.ibs_strateggy")
    assert "ModuleNotFoundError: No module named 'src.strategy.ibs_strateggy'" in done.stderr
    done = python("from src.strategy.ibs_strategy import IbsStrateggy")
    assert "ImportError" in done.stderr


@pytest.mark.parametrize("name", ["copy", "bare"])
def test_a_copy_is_refused_and_a_bare_checkout_becomes_the_package(name: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.joblib"))
    if name == "copy":
        done = python("import src.errors", cwd=tmp_path)
        assert "another copy of it; import from lockstep" in done.stderr
        return
    # -S: nothing is installed.
    done = python(
        "import src.errors, lockstep.errors; print(src.errors is lockstep.errors)", "-S", cwd=tmp_path
    )
    assert done.stdout == "True\n", done.stderr
