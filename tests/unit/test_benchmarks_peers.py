"""The environment of other engines: built once, from its lock file, and a failure in one line."""

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
def lock(environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock file of one engine; what would install it creates the interpreter and notes that it ran."""
    path = tmp_path / "engines.lock"
    path.write_text("engine==1\n")
    monkeypatch.setattr(environment, "_LOCK", path)
    monkeypatch.setattr(environment, "FOLDER", tmp_path / "peers")
    return path


def test_it_is_built_when_it_is_missing_or_other_versions_are_wanted(
    environment: ModuleType, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[tuple[str, ...]] = []

    def install(*command: str) -> None:
        commands.append(command)
        assert not Path(command[-1]).exists()
        (Path(command[-1]) / "bin").mkdir(parents=True)
        (Path(command[-1]) / "bin" / "python").touch()

    monkeypatch.setattr(environment, "_run", install)
    assert environment.python() == lock.parent / "peers" / "bin" / "python"
    environment.python()
    script = str(FILE.parents[2] / "scripts" / "environment.sh")
    assert commands == [(script, "--bare", str(lock), str(lock.parent / "peers"))]
    lock.write_text("engine==2\n")
    environment.python()
    environment.python()
    assert len(commands) == 2


def test_a_failure_says_why(environment: ModuleType) -> None:
    code = "import sys; sys.exit('no wheel\\nengines.lock was not installed')"
    with pytest.raises(environment.PeersMissing, match=r"^no wheel engines\.lock was not installed$"):
        environment._run(sys.executable, "-c", code)
    with pytest.raises(environment.PeersMissing, match="no message"):
        environment._run(sys.executable, "-c", "raise SystemExit(3)")
