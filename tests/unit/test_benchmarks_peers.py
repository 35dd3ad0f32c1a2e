"""The environment of other engines: built once, and a failure in one line."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "peers" / "environment.py"


@pytest.fixture
def environment() -> ModuleType:
    """Benchmarks are no installed package: the module is loaded from its file."""
    spec = importlib.util.spec_from_file_location("peers_environment", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environment, "FOLDER", tmp_path)
    wanted = tmp_path / "wanted.txt"
    wanted.write_text("engine==1\n")
    monkeypatch.setattr(environment, "_REQUIREMENTS", wanted)
    return tmp_path


def test_it_is_built_when_it_is_missing_or_other_versions_are_wanted(
    environment: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(environment, "_run", lambda *command: commands.append(command))
    (folder / "bin").mkdir()
    (folder / "bin" / "python").touch()
    assert environment.python() == folder / "bin" / "python"
    assert [command[2] for command in commands] == ["venv", "pip"]
    environment.python()
    assert len(commands) == 2
    (folder / "wanted.txt").write_text("engine==2\n")
    environment.python()
    assert len(commands) == 4


def test_a_failure_says_what_was_tried_and_why_it_failed(environment: ModuleType) -> None:
    with pytest.raises(environment.PeersMissing, match=r"-c import sys; sys\.exit\('no wheel'\): no wheel"):
        environment._run(sys.executable, "-c", "import sys; sys.exit('no wheel')")
    with pytest.raises(environment.PeersMissing, match="no message"):
        environment._run(sys.executable, "-c", "raise SystemExit(3)")
