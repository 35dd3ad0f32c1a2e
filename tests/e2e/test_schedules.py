"""Schedules: each timer fires once a day over both changes of the clocks, and cron does what systemd does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml

from lockstep.files import replace_file

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
TIMERS = sorted(DEPLOY.glob("systemd/*.timer"))
NEW_YORK = "America/New_York"
# The days before the clocks of New York go forward and back.
CHANGES = (date(2026, 3, 7), date(2026, 10, 31))
DAYS = 9

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
needs_flock = pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock")


def calendar_of(timer: Path) -> str:
    (found,) = re.findall(r"^OnCalendar=(.*)$", timer.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return str(found)


def fired(calendar: str, after: date) -> list[date]:
    """Return the days in New York on which a timer fires within `DAYS` days, once for each time."""
    command = [
        "systemd-analyze",
        "calendar",
        f"--iterations={DAYS * 24}",
        f"--base-time={after} 00:00:00",
        calendar,
    ]
    environment = {**os.environ, "TZ": NEW_YORK, "LC_ALL": "C"}
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    days = re.findall(r"(?:Next elapse|Iter\. #\d+): \w{3} (\d{4}-\d\d-\d\d) ", found)
    last = after + timedelta(days=DAYS)
    return [day for day in map(date.fromisoformat, days) if day < last]


def expected(calendar: str, after: date) -> list[date]:
    """Return the days on which it should: every one, or those of its weekday or day of the month."""
    days = [after + timedelta(days=number) for number in range(DAYS)]
    weekday = re.match(r"(Mon|Sat) ", calendar)
    if weekday:
        days = [day for day in days if f"{day:%a}" == weekday[1]]
    return [day for day in days if "-01 " not in calendar or day.day == 1]


@needs_systemd
@pytest.mark.parametrize("after", CHANGES, ids=("forward", "back"))
@pytest.mark.parametrize(
    "timer", [each for each in TIMERS if "backup" not in each.name], ids=lambda t: t.stem
)
def test_timers_fire_once_over_both_changes_of_the_clocks(timer: Path, after: date) -> None:
    calendar = calendar_of(timer)
    assert calendar.endswith(NEW_YORK)
    assert fired(calendar, after) == expected(calendar, after)


@needs_systemd
def test_two_in_the_morning_would_be_left_out() -> None:
    """The control: at this hour a night would be missing, which is why none of the timers has it."""
    calendar = f"*-*-* 02:00:00 {NEW_YORK}"
    assert set(expected(calendar, CHANGES[0])) - set(fired(calendar, CHANGES[0])) == {date(2026, 3, 8)}


def cron_lines() -> dict[str, str]:
    """Return when cron starts what, by the name of the unit."""
    lines = (DEPLOY / "crontab").read_text(encoding="utf-8").splitlines()
    found = [
        re.fullmatch(r"([\d*]+(?: [\d*]+){4})  +/opt/lockstep/deploy/cron\.sh ([a-z-]+)", line)
        for line in lines
    ]
    return {each[2]: each[1] for each in found if each}


def as_cron(calendar: str) -> str:
    """Return a calendar of systemd as the five fields of cron."""
    if calendar == "hourly":
        return "0 * * * *"
    parts = re.fullmatch(r"(?:(Mon|Sat) )?\*-\*-(\*|01) (\d\d):(\d\d):00 America/New_York", calendar)
    assert parts is not None, calendar
    weekday = {"Mon": "1", "Sat": "6", None: "*"}[parts[1]]
    day = "*" if parts[2] == "*" else "1"
    return f"{int(parts[4])} {int(parts[3])} {day} * {weekday}"


def test_cron_starts_what_the_timers_start_when_they_do() -> None:
    assert cron_lines() == {
        timer.stem.removeprefix("lockstep-"): as_cron(calendar_of(timer)) for timer in TIMERS
    }
    assert {"nightly", "health-check", "report", "optimize"} <= cron_lines().keys()


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """An installation whose Python writes down what it was asked to do, and fails where it is told to."""
    root = tmp_path / "opt"
    (root / ".venv" / "bin").mkdir(parents=True)
    shutil.copytree(DEPLOY, root / "deploy")
    python = root / ".venv" / "bin" / "python"
    replace_file(python, f'#!/bin/sh\necho "$@" >> {root}/asked\ncase "$1" in $FAILS) exit 3;; esac\n')
    python.chmod(0o755)
    replace_file(root / "settings", "LOCKSTEP_NIGHTLY=/etc/lockstep/night.yml\n")
    return root


def cron(root: Path, name: str, *, fails: str = "none") -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "SETTINGS": str(root / "settings"),
        "LOCKS": str(root / "locks"),
        "FAILS": fails,
    }
    command = ["sh", str(root / "deploy" / "cron.sh"), name]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@needs_flock
def test_cron_runs_the_command_of_the_unit_with_its_settings(installation: Path) -> None:
    assert cron(installation, "nightly").returncode == 0
    assert (
        installation / "asked"
    ).read_text() == "scripts/pipeline.py run --config /etc/lockstep/night.yml\n"


@needs_flock
def test_a_failure_under_cron_sends_the_alert_of_the_unit(installation: Path) -> None:
    assert cron(installation, "nightly", fails="scripts/pipeline.py").returncode == 3
    first, second = (installation / "asked").read_text().splitlines()
    assert first.startswith("scripts/pipeline.py run")
    assert second.startswith(
        f"scripts/alert.py --kind monitor {os.uname().nodename}: a night of the pipeline failed"
    )


@needs_flock
def test_a_second_start_under_cron_ends_at_once(installation: Path) -> None:
    (installation / "locks").mkdir()
    lock = installation / "locks" / "nightly"
    with subprocess.Popen(["flock", str(lock), "sh", "-c", "echo held; read line"], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        found = cron(installation, "nightly")
        assert (found.returncode, found.stdout) == (0, "nightly: is running already\n")
        assert not (installation / "asked").exists()
        holder.communicate("\n")
    assert cron(installation, "nightly").returncode == 0


def test_the_server_of_a_public_copy_runs_what_ours_runs() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert commands == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_flow_has_an_environment_of_its_own() -> None:
    """What Prefect asks for is nowhere in the lock file of the project."""
    assert "\nprefect==" in (DEPLOY / "prefect" / "requirements.lock").read_text(encoding="utf-8")
    for lock in ROOT.glob("requirements*.lock"):
        assert "\nprefect==" not in lock.read_text(encoding="utf-8")


@pytest.mark.skipif(
    "LOCKSTEP_TEST_PREFECT" not in os.environ,
    reason="no Prefect: set LOCKSTEP_TEST_PREFECT to a Python with deploy/prefect/requirements.lock",
)
@pytest.mark.parametrize("code", [0, 1])
def test_the_flow_runs_a_night_and_fails_where_it_fails(code: int, tmp_path: Path) -> None:
    command = tmp_path / "lockstep"
    replace_file(command, f'#!/bin/sh\necho "asked: $@"\nexit {code}\n')
    command.chmod(0o755)
    environment = {**os.environ, "LOCKSTEP": str(command), "PREFECT_HOME": str(tmp_path / "home")}
    # No retries after minutes, in a test.
    flow = tmp_path / "flow.py"
    source = (DEPLOY / "prefect" / "flow.py").read_text(encoding="utf-8")
    replace_file(flow, source.replace("RETRIES, DELAY_SECONDS = 2, 300", "RETRIES, DELAY_SECONDS = 0, 0"))
    found = subprocess.run(
        [os.environ["LOCKSTEP_TEST_PREFECT"], str(flow), "night.yml"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert "asked: pipeline run --config night.yml" in found.stdout + found.stderr
    assert (found.returncode == 0) is (code == 0)
