"""Who may import whom, and what importing the package costs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("backtrader", "pandas", "exchange_calendars", "numba", "numpy")


def lint(config: Path) -> subprocess.CompletedProcess[str]:
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert command is not None
    return subprocess.run(
        [command, "--config", str(config), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_ladder_is_kept() -> None:
    done = lint(ROOT / "setup.cfg")
    assert done.returncode == 0, done.stdout


def test_a_broken_ladder_is_noticed(tmp_path: Path) -> None:
    """Negative control: with market above strategy, the same imports break the contract."""
    text = (ROOT / "setup.cfg").read_text()
    turned = text.replace("    lockstep.market\n    lockstep.metrics\n", "    lockstep.metrics\n").replace(
        "layers =\n", "layers =\n    lockstep.market\n"
    )
    assert turned != text
    (tmp_path / "setup.cfg").write_text(turned)
    done = lint(tmp_path / "setup.cfg")
    assert done.returncode == 1
    assert "Who may import whom BROKEN" in done.stdout


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(','.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.strip().split(","))


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import lockstep").isdisjoint(HEAVY)


@pytest.mark.parametrize("module", ["lockstep.features.feature_registry", "lockstep.market.sessions"])
def test_features_and_sessions_load_without_engine_and_frames(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert loaded.isdisjoint({"backtrader", "pandas", "exchange_calendars", "plotly"})


def test_the_sweep_can_decide_without_backtrader() -> None:
    modules = "lockstep.strategy.families.ibs, lockstep.strategy.matching, lockstep.strategy.sizing"
    assert "backtrader" not in loaded_by(f"import {modules}")
