"""The package as a wheel, installed outside the checkout: everything that its commands need is in it."""

from __future__ import annotations

import configparser
import ensurepip
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CODE = {"lockstep": "src", "research": "research", "certify": "certify", "operations": "operations"}
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
TRAINING = {
    "symbol": "SPX",
    "data": {"start": "2010-01-04", "end": "2018-12-31"},
    "strategy": "../strategies/ibs.yaml",
    "features": {"ids": ["ibs", "rsi_2", "ret_1"]},
    "model": {"family": "random_forest", "space": {"n_estimators": {"integer": [5, 10]}}},
    "search": {"trials": 2, "initial": 1},
    "validation": {"groups": 4, "test_groups": 2, "embargo_days": 3, "walk_forward": "3y/3y/3y"},
    "hold_out": {"start": "2017-01-03"},
}


def packages() -> Iterator[tuple[str, Path]]:
    """Yield every package of the tree with its folder."""
    for name, folder in CODE.items():
        for file in sorted((ROOT / folder).rglob("__init__.py")):
            yield ".".join((name, *file.parent.relative_to(ROOT / folder).parts)), file.parent


def test_the_wheel_lists_every_package() -> None:
    declared = configparser.ConfigParser()
    declared.read(ROOT / "setup.cfg")
    listed = declared["options"]["packages"].split()
    assert len(listed) == len(set(listed))
    assert set(listed) - {"lockstep.configs"} == {name for name, _ in packages()}
    for _, folder in packages():
        for inside in (each for each in folder.iterdir() if each.is_dir()):
            modules = list(inside.glob("*.py"))
            assert not modules or (inside / "__init__.py").is_file(), f"{inside}: not a package"


class Installation:
    """A fresh environment with the wheel in it, and a desk folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.desk = folder / "desk"
        self.wheel = self._build()
        self.python = self._install()

    def _build(self) -> Path:
        sources = self.folder / "sources"
        for name in ("src", "research", "certify", "operations", "configs"):
            ignored = shutil.ignore_patterns("__pycache__", "*.joblib", "manifest.json*")
            shutil.copytree(ROOT / name, sources / name, ignore=ignored)
        for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, sources)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", BUILD, str(self.folder)],
            cwd=sources, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        shutil.rmtree(sources)
        (wheel,) = self.folder.glob("*.whl")
        return wheel

    def _install(self) -> Path:
        home = self.folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
        python = home / "bin" / "python"
        (pip,) = Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")
        subprocess.run(
            [python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", self.wheel],
            env={"PYTHONPATH": str(pip), "HOME": str(self.folder)}, check=True,
        )  # fmt: skip
        (packages,) = home.glob("lib/python*/site-packages")
        # A path in a .pth brings what lies in it, and no .pth of its own: not the checkout.
        (packages / "dependencies.pth").write_text(f"{Path(numpy.__file__).parents[1]}\n")
        return python

    def run(self, *words: object, cwd: Path | None = None, code: int = 0) -> str:
        """Run a command of the installation, by default below the desk; return what it printed."""
        program = self.python.with_name("lockstep")
        kept = ("PATH", "LOCKSTEP_CACHE_DIR", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        done = subprocess.run(
            [str(program), *map(str, words)], cwd=cwd or self.desk / "notes", capture_output=True, text=True,
            env={**environment, "HOME": str(self.folder / "home"), "COLUMNS": "160"}, check=False,
        )  # fmt: skip
        assert done.returncode == code, (words, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    made = Installation(tmp_path_factory.mktemp("wheel"))
    made.run("init", made.desk, cwd=made.folder)
    (made.desk / "notes").mkdir()
    (made.desk / "training" / "SPX.yml").write_text(yaml.safe_dump(TRAINING))
    live = yaml.safe_load((made.desk / "live.yml").read_text())
    live |= {"instruments": [{"symbol": "SPX"}]}
    live["feeds"][0] |= {"start": "2018-10-01", "end": "2018-12-31"}
    (made.desk / "live.yml").write_text(yaml.safe_dump(live))
    return made


def test_it_holds_no_test_and_no_script_and_all_that_is_read(installed: Installation) -> None:
    names = set(zipfile.ZipFile(installed.wheel).namelist())
    assert not [name for name in names if name.startswith(("tests/", "scripts/", "benchmarks/"))]
    for folder in (ROOT / "configs", ROOT / "research" / "report"):
        place = "lockstep/configs" if folder.name == "configs" else "research/report"
        for file in (
            each for each in folder.rglob("*") if each.is_file() and "__pycache__" not in each.parts
        ):
            assert f"{place}/{file.relative_to(folder)}" in names, file
    code = "import lockstep, research, sys; print(lockstep.__file__, research.__file__, *sys.path)"
    said = subprocess.run([installed.python, "-c", code], capture_output=True, text=True, check=True,
                          cwd=installed.folder, env={}).stdout  # fmt: skip
    assert str(ROOT) not in said.split()[0]
    assert said.count(str(installed.folder)) >= 2
    assert str(ROOT) not in [word for word in said.split() if "site-packages" not in word]


def test_from_backtest_to_production_in_a_desk_outside_the_checkout(installed: Installation) -> None:
    """Every command runs in a folder below the desk, takes its files and leaves its results there."""
    desk, run = installed.desk, installed.run
    run("backtest", "--symbol", "SPX", "--start", "2018-01-02")
    assert list(desk.glob("results/SPX-ibs-*/tearsheet.html"))
    said = run("train", "--config", "../training/SPX.yml", "--jobs", 1, "--by", "tester")
    assert (desk / "store" / "SPX_v1.joblib").is_file()
    (advised,) = (line.split() for line in said.splitlines() if " validate SPX " in line)
    assert advised == [str(installed.python.with_name("lockstep")), "validate", "SPX", "--version", "v1"]
    said = run(
        "certify", "--symbol", "SPX", "--version", "v1", "--start", "2018-09-03", "--restarts", 1, code=3
    )
    assert "parity holds" in said
    assert "live engine killed and restarted" in said
    assert list(desk.glob("store/reports/parity-*.html"))
    refused = run("promote", "SPX", "v1", code=2)
    assert refused.startswith("error: SPX ibs_veto v1: cannot be promoted")
    assert refused.count("\n") == 1
    said = run("promote", "SPX", "v1", "--force", "--reason", "a test")
    assert "production none -> v1" in said
    run("live", "--log", desk / "live" / "log.jsonl")
    assert "stopped" in run("status", code=1)
    assert run("journal", "verify").strip().endswith("paper.db: whole")
    assert "production" in run("models", "list")
    assert (desk / "experiments.db").is_file(), "the ledger of trials"


def test_nothing_is_left_in_the_users_folders(installed: Installation) -> None:
    home = installed.folder / "home"
    left = [path for path in home.rglob("*") if path.is_file() and ".cache" not in path.parts]
    assert left == []
