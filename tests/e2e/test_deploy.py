"""Deployment files: units that systemd accepts, backups that keep the newest, links that lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from operations.backup import sets, verify
from operations.watch.config import MonitoringConfig
from support.first_version import FIRST

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PAGES = sorted([DEPLOY / "README.md", *DEPLOY.glob("runbooks/*.md")])
UNITS = sorted(DEPLOY.glob("systemd/*"))

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def verified(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(folder.iterdir()))]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def installed(folder: Path) -> None:
    """Copy the units with programs that exist on this machine."""
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        text = re.sub(r"/opt/lockstep/(\.venv/bin/python|deploy/backup\.sh)", "/bin/true", text)
        (folder / unit.name).write_text(text, encoding="utf-8")


@needs_systemd
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    installed(tmp_path)
    result = verified(tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


@needs_systemd
def test_a_misspelled_setting_is_noticed(tmp_path: Path) -> None:
    installed(tmp_path)
    unit = tmp_path / "lockstep.service"
    unit.write_text(unit.read_text(encoding="utf-8").replace("ProtectHome", "ProtectHoem"), encoding="utf-8")
    assert "ProtectHoem" in verified(tmp_path).stderr


@pytest.mark.parametrize("unit", [each for each in UNITS if each.suffix == ".service"], ids=lambda u: u.name)
def test_no_service_dumps_its_memory(unit: Path) -> None:
    """A process that reads secrets must not leave them on the disk when it crashes."""
    assert "LimitCORE=0" in unit.read_text(encoding="utf-8").splitlines()


def test_settings_that_are_used_are_in_the_template() -> None:
    template = (DEPLOY / "lockstep.env.example").read_text(encoding="utf-8")
    declared = set(re.findall(r"^#?([A-Z_]+)=", template, flags=re.MULTILINE))
    used = set()
    for path in (*UNITS, *PAGES, DEPLOY / "backup.sh", DEPLOY / "shell.sh"):
        used |= set(re.findall(r"\$\{?(LOCKSTEP_[A-Z_]+)", path.read_text(encoding="utf-8")))
    assert {"LOCKSTEP_MODE", "LOCKSTEP_JOURNAL", "LOCKSTEP_MONITORING"} <= used
    assert used <= declared


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_script_that_a_unit_runs_exists() -> None:
    named = {script for unit in UNITS for script in re.findall(r"scripts/\w+\.py", unit.read_text("utf-8"))}
    assert {"scripts/run_live.py", "scripts/alert.py", "scripts/monitor.py"} <= named
    assert {"scripts/generate_performance_report.py", "scripts/strategy_health_check.py"} <= named
    assert {script for script in named if not (DEPLOY.parent / script).is_file()} == set()


def test_every_runbook_is_found_from_the_overview_and_the_site() -> None:
    overview = (DEPLOY / "README.md").read_text(encoding="utf-8")
    site = (DEPLOY.parent / "mkdocs.yml").read_text(encoding="utf-8")
    for page in DEPLOY.glob("runbooks/*.md"):
        assert f"](runbooks/{page.name})" in overview, page.name
        assert f"deploy/runbooks/{page.name}" in site, page.name


def test_the_nightly_pass_comes_before_the_desk_counts_as_not_watched() -> None:
    """One pass a day, the longest day of the year included, and late by what the timer allows."""
    timer = (DEPLOY / "systemd" / "lockstep-monitor.timer").read_text(encoding="utf-8")
    assert re.findall(r"^OnCalendar=(.*)$", timer, flags=re.MULTILINE) == ["*-*-* 18:30:00 America/New_York"]
    late = int(re.findall(r"^RandomizedDelaySec=(\d+)$", timer, flags=re.MULTILINE)[0])
    config = MonitoringConfig.load(DEPLOY.parent / "configs" / "monitoring.yml")
    assert 25 * 3_600 + late < config.stale_after


def test_a_month_is_reported_after_its_last_nightly_pass() -> None:
    """The first of a month comes after the evening of the last, and Saturday after that of Friday."""
    systemd = DEPLOY / "systemd"
    for name, wanted in (("report", "*-*-01 07:00:00"), ("health-check", "Sat *-*-* 09:00:00")):
        timer = (systemd / f"lockstep-{name}.timer").read_text(encoding="utf-8")
        assert f"OnCalendar={wanted} America/New_York" in timer.splitlines()
        service = (systemd / f"lockstep-{name}.service").read_text(encoding="utf-8")
        assert f"OnFailure=lockstep-{name}-failure.service" in service.splitlines()
        assert (systemd / f"lockstep-{name}-failure.service").is_file()


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """An installation's scripts with this Python, and a desk of the first version."""
    root = tmp_path / "opt"
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / "deploy").mkdir()
    shutil.copy(DEPLOY / "backup.sh", root / "deploy")
    shutil.copytree(DEPLOY.parent / "scripts", root / "scripts")
    python = root / ".venv" / "bin" / "python"
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH="{DEPLOY.parent}" exec "{sys.executable}" "$@"\n', encoding="utf-8"
    )
    python.chmod(0o755)
    shutil.copytree(FIRST, root / "desk")
    return root


def backed_up(root: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(root),
        "LOCKSTEP_CACHE_DIR": os.environ.get("LOCKSTEP_CACHE_DIR", str(root / "cache")),
        "LOCKSTEP_JOURNAL": str(root / "desk" / "paper.db"),
        "LOCKSTEP_MODEL_STORE": str(root / "desk" / "store"),
        "LOCKSTEP_BACKUPS": str(root / "sets"),
        "LOCKSTEP_BACKUPS_KEPT": "1",
        **changes,
    }
    script = root / "deploy" / "backup.sh"
    return subprocess.run([script], capture_output=True, text=True, check=False, env=environment)


def test_a_backup_is_verified_and_the_newest_are_kept(installation: Path) -> None:
    older = installation / "sets" / "set-20200101T000000Z"
    for folder in (older, installation / "sets" / "before-upgrade"):
        folder.mkdir(parents=True)
        (folder / "set.json").touch()
    result = backed_up(installation)
    assert result.returncode == 0, result.stderr
    (made,) = sets(installation / "sets")
    assert made != older
    assert verify(made) == []
    assert (installation / "sets" / "before-upgrade").is_dir()


def test_a_failed_backup_removes_nothing(installation: Path) -> None:
    older = installation / "sets" / "set-20200101T000000Z"
    older.mkdir(parents=True)
    (older / "set.json").touch()
    result = backed_up(installation, LOCKSTEP_JOURNAL=str(installation / "nowhere.db"))
    assert (result.returncode, result.stdout) == (2, "")
    assert "there is none" in result.stderr
    assert list((installation / "sets").iterdir()) == [older]
