"""Lock files judged offline: is every requirement of every locked package met inside the lock?

The requirements of a package are those that its metadata declares. Of packages that no environment holds at
once (one release for Python 3.11, another for 3.12; Windows only), `scripts/lock.sh` records them in
`tests/golden/locked_requirements.json`: `python -m support.locks` asks the index for them.
"""

from __future__ import annotations

import configparser
import functools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "tests" / "golden" / "locked_requirements.json"

# Extras that each lock is resolved with, as in scripts/lock.sh; another root than setup.cfg has None.
LOCKS: dict[str, tuple[str, ...] | None] = {
    "requirements.lock": (),
    "requirements-dev.lock": ("dev", "notebooks", "cluster", "boosting", "shap", "agents"),
    "requirements-notebooks.lock": ("notebooks",),
    "benchmarks/peers/requirements.lock": None,
    "deploy/prefect/requirements.lock": None,
    "requirements-build.lock": None,
}
PYTHONS = ("3.11.0", "3.11.9", "3.12.0", "3.12.9", "3.13.0", "3.13.9")
MACHINES = (
    ("linux", "Linux", "x86_64", "posix"),
    ("linux", "Linux", "aarch64", "posix"),
    ("darwin", "Darwin", "arm64", "posix"),
    ("darwin", "Darwin", "x86_64", "posix"),
    ("win32", "Windows", "AMD64", "nt"),
)
ENVIRONMENTS = tuple(
    {
        "implementation_name": "cpython",
        "implementation_version": python,
        "os_name": family,
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": system,
        "platform_version": "",
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "sys_platform": platform,
    }
    for python in PYTHONS
    for platform, system, machine, family in MACHINES
)


@dataclass(frozen=True, kw_only=True)
class Locked:
    """One entry of a lock file; `marker` says where it counts."""

    name: str
    version: str
    marker: Marker | None

    @property
    def key(self) -> str:
        return f"{self.name}=={self.version}"

    def counts_in(self, environment: Mapping[str, str]) -> bool:
        return self.marker is None or self.marker.evaluate(dict(environment))


def read_lock(text: str) -> tuple[Locked, ...]:
    """Return the entries of a lock file."""
    found = re.findall(
        r"^([\w.-]+)(?:\[[^]]*\])?==([^\s;]+)(?: ; ([^\\\n]+?))? *\\?$", text, flags=re.MULTILINE
    )
    return tuple(
        Locked(name=canonicalize_name(name), version=version, marker=Marker(marker) if marker else None)
        for name, version, marker in found
    )


def roots(lock: str) -> tuple[str, ...]:
    """Return the requirements that a lock file was resolved from."""
    extras = LOCKS[lock]
    if lock == "requirements-build.lock":
        return tuple(tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"])
    if extras is None:
        lines = (ROOT / lock).with_suffix(".txt").read_text().splitlines()
        return tuple(line for line in lines if not line.startswith("#"))
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    parts = [config["options"]["install_requires"]]
    parts += [config["options.extras_require"][extra] for extra in extras]
    return tuple(line for part in parts for line in part.splitlines() if line.strip())


def installed_requirements() -> dict[str, tuple[str, ...]]:
    """Return what the installed packages require, by `name==version`."""
    return {
        f"{canonicalize_name(each.metadata['Name'])}=={each.version}": tuple(sorted(each.requires or ()))
        for each in distributions()
    }


def recorded_requirements() -> dict[str, tuple[str, ...]]:
    """Return what lock.sh recorded of packages that are not installed here."""
    return {key: tuple(lines) for key, lines in json.loads(RECORD.read_text(encoding="utf-8")).items()}


@functools.cache
def _parsed(line: str) -> Requirement:
    return Requirement(line)


def _needed(lines: Iterable[str], extra: str, environment: Mapping[str, str]) -> Iterator[Requirement]:
    for line in lines:
        requirement = _parsed(line)
        if requirement.marker is None or requirement.marker.evaluate({**environment, "extra": extra}):
            yield requirement


def problems(
    lock: Iterable[Locked], asked: Iterable[str], requirements: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Return what is wrong with a lock file, one sentence each; none when it is complete.

    lock           its entries.
    asked          requirements that it was resolved from.
    requirements   what packages require, by `name==version`.
    """
    found: dict[str, None] = {}
    entries, used = tuple(lock), set[str]()
    for environment in ENVIRONMENTS:
        walk = _Walk(entries, environment, requirements)
        walk.ask("the project", asked, "")
        for sentence in walk.problems:
            found.setdefault(sentence)
        used |= walk.used
    for entry in entries:
        if entry.key not in used:
            found.setdefault(f"{entry.key}: nothing requires it")
    return list(found)


class _Walk:
    """One environment's walk from what the project asks for to all that this takes."""

    def __init__(
        self, lock: tuple[Locked, ...], environment: Mapping[str, str], known: Mapping[str, tuple[str, ...]]
    ) -> None:
        self._environment = environment
        self._known = known
        self._seen: set[tuple[str, str]] = set()
        self.used: set[str] = set()
        self.problems: list[str] = []
        self._active: dict[str, Locked] = {}
        for entry in lock:
            if entry.counts_in(environment):
                if entry.name in self._active:
                    self.problems.append(f"{entry.name}: two entries count at once{self._where}")
                self._active[entry.name] = entry

    @property
    def _where(self) -> str:
        values = self._environment
        return f", Python {values['python_version']}, {values['sys_platform']} {values['platform_machine']}"

    def ask(self, who: str, lines: Iterable[str], extra: str) -> None:
        """Follow the requirements of `who` with one of its extras ('' for none)."""
        for requirement in _needed(lines, extra, self._environment):
            name = canonicalize_name(requirement.name)
            entry = self._active.get(name)
            if entry is None:
                self.problems.append(f"{who} requires {requirement}, which is not locked{self._where}")
                continue
            if not requirement.specifier.contains(entry.version, prereleases=True):
                self.problems.append(f"{who} requires {requirement}, locked is {entry.version}{self._where}")
            self._enter(entry, ("", *sorted(requirement.extras)))

    def _enter(self, entry: Locked, extras: tuple[str, ...]) -> None:
        self.used.add(entry.key)
        lines = self._known.get(entry.key)
        for extra in extras:
            if (entry.name, extra) in self._seen:
                continue
            self._seen.add((entry.name, extra))
            if lines is None:
                self.problems.append(f"{entry.key}: nobody knows what it requires; run scripts/lock.sh")
            else:
                self.ask(f"{entry.name}[{extra}]" if extra else entry.name, lines, extra)


def unrecorded() -> dict[str, Locked]:
    """Return the entries that not every environment of the development lock holds, by `name==version`."""
    always = {each.key for each in _entries("requirements-dev.lock") if each.marker is None}
    every = {each.key: each for lock in LOCKS for each in _entries(lock)}
    return {key: every[key] for key in sorted(every) if key not in always}


def _entries(lock: str) -> tuple[Locked, ...]:
    return read_lock((ROOT / lock).read_text(encoding="utf-8"))


def _asked_from_index(entry: Locked) -> tuple[str, ...]:
    """Return what a package requires, from its wheel for the first environment where it counts."""
    environment = next(each for each in ENVIRONMENTS if entry.counts_in(each))
    machine = environment["platform_machine"]
    tags = {
        "linux": [f"manylinux_2_{minor}_{machine}" for minor in range(34, 11, -1)]
        + [f"manylinux2014_{machine}"],
        "darwin": [f"macosx_{major}_0_{machine}" for major in range(26, 9, -1)],
        "win32": ["win_amd64"],
    }[environment["sys_platform"]]
    command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--dry-run"]
    command += [
        "--ignore-installed",
        "--ignore-requires-python",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--report",
        "-",
        "--target",
        "build",
    ]
    command += ["--python-version", environment["python_version"], entry.key]
    command += [part for tag in tags for part in ("--platform", tag)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{entry.key}: {done.stderr.strip().splitlines()[-1]}")
    (package,) = json.loads(done.stdout)["install"]
    return tuple(sorted(package["metadata"].get("requires_dist", ())))


def record() -> None:
    """Write what packages require that an environment of the development lock need not hold."""
    known = recorded_requirements() if RECORD.exists() else {}
    found = {key: known.get(key) or _asked_from_index(entry) for key, entry in unrecorded().items()}
    RECORD.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Record what has to be, then judge every lock file; exit code 1 when one is incomplete."""
    record()
    known = recorded_requirements() | installed_requirements()
    wrong = [
        f"{lock}: {sentence}" for lock in LOCKS for sentence in problems(_entries(lock), roots(lock), known)
    ]
    sys.exit("\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
