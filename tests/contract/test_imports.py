"""Who may import whom, and what importing the package costs."""

from __future__ import annotations

import ast
import configparser
import re
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


def test_forward_evidence_is_numbers_alone() -> None:
    """The nightly and a notebook ask for it; it must not bring an engine, alerts or frames along."""
    loaded = loaded_by("import lockstep.monitoring.eprocess")
    assert loaded.isdisjoint({"pandas", "scipy", "numba", "pydantic", "lockstep.monitoring.alerts"})


def test_alarms_load_neither_frames_nor_scikit_learn() -> None:
    modules = ("desk_alarms", "alarm_text", "calibration", "reference_outcomes")
    loaded = loaded_by("; ".join(f"import lockstep.monitoring.{each}" for each in modules))
    assert loaded.isdisjoint({"pandas", "scipy", "numba", "sklearn", "backtrader"})


def test_who_asks_no_model_does_not_wait_for_scikit_learn() -> None:
    """Loading it is a third of the start of a command: experiments and the store open without it."""
    opened = loaded_by("import lockstep.models.bundle, research.experiments.cli, certify.realised")
    assert "sklearn" not in opened
    assert "sklearn" in loaded_by("import lockstep.models.estimators")


def test_the_sweep_can_decide_without_backtrader() -> None:
    modules = "lockstep.strategy.families.ibs, lockstep.strategy.matching, lockstep.strategy.sizing"
    assert "backtrader" not in loaded_by(f"import {modules}")


def test_the_sweep_loads_neither_figures_nor_frames_nor_an_engine() -> None:
    """A worker of a cluster starts with this import."""
    assert loaded_by("import research.sweep.run").isdisjoint(
        {"plotly", "pandas", "backtrader", "exchange_calendars"}
    )


@pytest.mark.parametrize(
    ("below", "above", "name"),
    [
        ("lockstep.market.bars", "lockstep.models.manifest", "Who may import whom"),
        ("research.statistics.pbo", "research.experiments.plan", "Who may import whom inside research"),
        ("lockstep.live.journal.chain", "lockstep.live.traded", "Who may import whom inside live"),
        ("lockstep.market.asof", "backtrader", "Only strategy.backtrader imports backtrader"),
    ],
)
def test_a_planted_import_breaks_its_contract(tmp_path: Path, below: str, above: str, name: str) -> None:
    """Negative control in a copy: one import against the ladder is named."""
    for folder in ("src", "research", "certify", "operations", "configs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.move(tmp_path / "src", tmp_path / "lockstep")
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    planted = tmp_path.joinpath(*below.split(".")).with_suffix(".py")
    planted.write_text(f"{planted.read_text()}\nimport {above}\n")
    done = subprocess.run(
        [sys.executable, "-c", _LINT, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{name} BROKEN" in done.stdout
    assert done.stdout.count(" BROKEN") == 1


# The copy comes before what is installed, whose finder would answer for the package.
_LINT = """
import sys
from importlinter.cli import lint_imports
sys.path.insert(0, sys.argv[1])
sys.meta_path[:] = [each for each in sys.meta_path if isinstance(each, type)]
sys.exit(lint_imports(config_filename="setup.cfg", no_cache=True))
"""


# Code that no user runs from an installation, and what is checked in its own way.
_BESIDE = {"tests", "benchmarks", "docs", "examples", "notebooks", "deploy"}


def top_level() -> set[str]:
    """Return the top-level folders of the checkout that hold code of ours."""
    return {
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name not in _BESIDE
        and any((*path.glob("*.py"), *path.glob("*/*.py")))
    } - {"build", "dist", "results"}  # fmt: skip


def test_coverage_types_and_ladder_cover_every_folder_of_code() -> None:
    """A new one (`bridges`) joins all three, or this fails."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    folders = top_level()
    assert {"src", "research", "certify", "operations", "scripts"} <= folders
    assert set(settings["coverage:run"]["source"].split()) == folders
    packages = {"lockstep" if each == "src" else each for each in folders}
    checked = re.search(r"^\t\S*mypy (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert checked is not None
    assert set(checked[1].split()) - {"-p"} == packages
    # A folder of scripts is no package; what they import is tested below.
    assert set(settings["importlinter"]["root_packages"].split()) == packages - {"scripts"}


def test_a_script_is_a_door_and_nothing_else() -> None:
    found = sorted((ROOT / "scripts").glob("*.py"))
    assert len(found) > 20
    for path in found:
        _, *body = ast.parse(path.read_text()).body
        imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
        modules = [getattr(node, "module", "") for node in imports]
        apps = [each for each in modules if each not in ("__future__", "lockstep.console", "functools")]
        assert set(modules) > {"lockstep.console"}, path
        assert 1 <= len(apps) <= 2, f"{path}: {apps}"
        (main,) = (node for node in body if node not in imports)
        assert ast.unparse(main).startswith("if __name__ == '__main__':\n    run("), path
