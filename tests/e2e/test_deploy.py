"""Deployment files: units that systemd accepts, backups that keep the newest, links that lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

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


def test_settings_that_are_used_are_in_the_template() -> None:
    template = (DEPLOY / "lockstep.env.example").read_text(encoding="utf-8")
    declared = set(re.findall(r"^#?([A-Z_]+)=", template, flags=re.MULTILINE))
    used = set()
    for path in (*UNITS, *PAGES, DEPLOY / "backup.sh", DEPLOY / "shell.sh"):
        used |= set(re.findall(r"\$\{?(LOCKSTEP_[A-Z_]+)", path.read_text(encoding="utf-8")))
    assert {"LOCKSTEP_MODE", "LOCKSTEP_JOURNAL"} <= used
    assert used <= declared


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), f"{page.name}: {link}"


def backed_up(tmp_path: Path, *, works: bool) -> subprocess.CompletedProcess[str]:
    """Run the backup script in an installation whose Python only notes what it is asked."""
    root = tmp_path / "opt"
    (root / "deploy").mkdir(parents=True)
    (root / ".venv" / "bin").mkdir(parents=True)
    script = shutil.copy(DEPLOY / "backup.sh", root / "deploy" / "backup.sh")
    python = root / ".venv" / "bin" / "python"
    python.write_text(
        "#!/bin/sh\n"
        f'echo "$2" >> "{tmp_path}/asked"\n'
        f"[ {int(works)} = 1 ] || exit 2\n"
        'if [ "$2" = backup ]; then touch "$6"; fi\n',
        encoding="utf-8",
    )
    python.chmod(0o755)
    environment = {
        "PATH": "/usr/bin:/bin",
        "LOCKSTEP_JOURNAL": "live.db",
        "LOCKSTEP_BACKUPS": str(tmp_path / "copies"),
        "LOCKSTEP_BACKUPS_KEPT": "2",
    }
    return subprocess.run([script], capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    folder = tmp_path / "copies"
    folder.mkdir()
    for name in ("journal-20200101T000000Z.db", "journal-20200102T000000Z.db", "before-upgrade.db"):
        (folder / name).touch()
    return folder


def test_a_backup_is_verified_and_the_newest_are_kept(tmp_path: Path, copies: Path) -> None:
    result = backed_up(tmp_path, works=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "asked").read_text(encoding="utf-8").split() == ["backup", "verify"]
    kept = sorted(each.name for each in copies.iterdir())
    assert kept[:2] == ["before-upgrade.db", "journal-20200102T000000Z.db"]
    assert len(kept) == 3


def test_a_failed_backup_removes_nothing(tmp_path: Path, copies: Path) -> None:
    assert backed_up(tmp_path, works=False).returncode != 0
    assert len(list(copies.iterdir())) == 3
