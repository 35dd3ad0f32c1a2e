"""The commands of README, run in their order in a clone, each against the exit code and duration it states.

`PYTHONPATH=tests python -m support.readme` does it as on a fresh machine: no uv, an environment built from
the lock files, kernels compiled anew, `make` and all. It prints JSON and takes a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from support.markets import CME

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_STATED = re.compile(r"(\d+) (s|min)( to start)?(?:, exits (\d+))?(?:: .+)?")
# Other tests run beside it, on a slower machine perhaps; what is stated must have the right order.
_PATIENCE, _ALLOWANCE = 3.0, 20.0
_SNIPPET_SECONDS = 10.0


class UnstatedCommand(Exception):
    """A command in README does not say how long it takes."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command; `serves` when it runs until it is stopped, and `seconds` is the time until it answers."""

    text: str
    seconds: float
    code: int = 0
    serves: bool = False

    @property
    def limit(self) -> float:
        return self.seconds * _PATIENCE + _ALLOWANCE


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What came of a command; `code` is None where it was stopped because it took too long."""

    command: Command
    code: int | None
    seconds: float
    output: str

    @property
    def fault(self) -> str | None:
        """What is not as README says."""
        command = self.command
        if self.code is None:
            return f"{command.text}: no end after {self.seconds:.0f} s, README says {command.seconds:.0f} s"
        if self.code != command.code:
            tail = "\n".join(self.output.strip().splitlines()[-8:])
            return f"{command.text}: exit code {self.code}, README says {command.code}\n{tail}"
        if self.seconds > command.limit:
            return f"{command.text}: took {self.seconds:.0f} s, README says {command.seconds:.0f} s"
        return None


def read_commands(text: str) -> tuple[Command, ...]:
    """Return the commands and Python snippets of a README, in their order.

    A shell command ends in a comment: `# 20 s`, `# 20 s: what it does`, `# 4 min, exits 1: why`, or
    `# 30 s to start: what answers`. UnstatedCommand where one has none.
    """
    return tuple(
        command
        for language, body in _FENCE.findall(text)
        for command in {"sh": _shell, "python": _snippet}.get(language, lambda _: iter(()))(body)
    )


def _snippet(body: str) -> Iterator[Command]:
    yield Command(text=body, seconds=_SNIPPET_SECONDS)


def _shell(body: str) -> Iterator[Command]:
    for line in body.replace("\\\n", " ").splitlines():
        text, *comments = line.rsplit(" # ", 1)
        if not text.strip() or text.startswith("#"):
            continue
        stated = _STATED.fullmatch("".join(comments).strip())
        if stated is None:
            raise UnstatedCommand(
                f"{' '.join(text.split())}: README must say how long it takes: # 20 s, or # 20 s, exits 1"
            )
        amount, unit, starts, code = stated.groups()
        yield Command(
            text=" ".join(text.split()),
            seconds=int(amount) * (60.0 if unit == "min" else 1.0),
            code=int(code or 0),
            serves=bool(starts),
        )


def read_files(text: str) -> dict[str, str]:
    """Return the YAML that README shows, by the path in its first line's comment."""
    bodies = [body for language, body in _FENCE.findall(text) if language == "yaml"]
    return {re.findall(r"# (configs/\S+)", body.splitlines()[0])[0]: body for body in bodies}


class Clone:
    """A fresh clone of the checkout's last commit, in which commands run one after the other."""

    def __init__(self, folder: Path, *, environment: Mapping[str, str]) -> None:
        self.folder = folder
        subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
        self._environment = dict(environment)
        self._variables = folder.with_name(f"{folder.name}.variables")

    @property
    def readme(self) -> str:
        return (self.folder / "README.md").read_text(encoding="utf-8")

    def borrow(self) -> None:
        """Give the clone an environment of the packages that run this, with the clone's own sources."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.folder / ".venv"], check=True)
        (packages,) = (self.folder / ".venv" / "lib").glob("python*/site-packages")
        borrowed = [path for path in sys.path if path.endswith("site-packages")]
        # Not as sitecustomize: a distribution's Python may have one of its own, which comes first.
        (packages / "sources_of_the_clone.py").write_text(
            _MAPPING.format(root=str(self.folder)), encoding="utf-8"
        )
        lines = [*borrowed, "import sources_of_the_clone"]
        (packages / "borrowed.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
        # `make notebooks` finds its packages installed, and a program to start.
        jupyter = self.folder / ".venv/bin/jupyter-lab"
        jupyter.write_text('#!/bin/sh\nexec "${0%jupyter-lab}python" -m jupyterlab "$@"\n', encoding="utf-8")
        jupyter.chmod(0o755)
        command = self.folder / ".venv/bin/lockstep"
        command.write_text(
            '#!/bin/sh\nexec "${0%lockstep}python" -m operations.main "$@"\n', encoding="utf-8"
        )
        command.chmod(0o755)
        (self.folder / ".venv/.notebooks").touch()

    def run(self, command: Command, *, settings: Mapping[str, str] | None = None) -> Ran:
        """Run one command; what it exports stays for the next."""
        shell = ["bash", "-c", f'{command.text}\ncode=$?; env -0 >"$0"; exit $code', str(self._variables)]
        if "\n" in command.text:
            shell = [str(self.folder / ".venv/bin/python"), "-c", command.text]
        began = time.monotonic()
        process = subprocess.Popen(
            shell,
            cwd=self.folder,
            env={**self._environment, **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        code: int | None
        try:
            output, _ = process.communicate(timeout=command.limit)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, code = process.communicate()[0], None
        if self._variables.exists():
            entries = self._variables.read_text(encoding="utf-8").split("\0")
            self._environment = dict(entry.split("=", 1) for entry in entries if "=" in entry)
            self._variables.unlink()
        return Ran(command=command, code=code, seconds=time.monotonic() - began, output=output)

    def serve(self, command: Command, url: str, *, settings: Mapping[str, str]) -> Ran:
        """Start a command, wait until `url` answers, and stop it as Ctrl-C and the end of a session do."""
        began = time.monotonic()
        log = self.folder.with_name(f"{self.folder.name}.log")
        with log.open("w", encoding="utf-8") as stream:
            process = subprocess.Popen(
                ["bash", "-c", command.text],
                cwd=self.folder,
                env={**self._environment, **settings},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                answered = _answers(url, process, began + command.limit)
                seconds = time.monotonic() - began
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait(timeout=30)
        return Ran(
            command=command,
            code=command.code if answered else process.returncode,
            seconds=seconds,
            output=log.read_text(encoding="utf-8"),
        )


def _answers(url: str, process: subprocess.Popen[bytes], deadline: float) -> bool:
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            time.sleep(0.2)
    return False


# Packages lie under other names in the checkout (setup.cfg); an installed Lockstep must not be found instead.
_MAPPING = """\
import importlib.machinery
import importlib.util
import sys

ROOT = {root!r}
FOLDERS = {{"lockstep": ROOT + "/src", "lockstep.configs": ROOT + "/configs"}}


class Mapping:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in FOLDERS:
            return None
        folder = FOLDERS[name]
        if name == "lockstep":
            return importlib.util.spec_from_file_location(
                name, folder + "/__init__.py", submodule_search_locations=[folder]
            )
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [folder]
        return spec


sys.meta_path.insert(0, Mapping)
sys.path.insert(0, ROOT)
"""


def put_bars(folder: Path, readme: str) -> None:
    """Put daily bars of three years into a folder, with the name and the columns that README describes."""
    (name,) = re.findall(r"Put `(\w+\.csv)`", readme)
    (columns,) = re.findall(r"`(datetime,[a-z,]+)`", readme)
    dates = CME.scheduled_dates(np.datetime64("2022-01-03"), np.datetime64("2024-12-31"))
    draw = np.random.default_rng(20)
    close = np.round(4000.0 * np.exp(np.cumsum(draw.normal(0.0, 0.012, dates.size))) * 4) / 4
    start = np.concatenate([close[:1], close[:-1]]) + np.round(draw.normal(0.0, 10.0, dates.size)) / 4
    values = {
        "datetime": dates.astype(str),
        "open": start,
        "high": np.maximum(start, close) + np.round(draw.exponential(40.0, dates.size)) / 4,
        "low": np.minimum(start, close) - np.round(draw.exponential(40.0, dates.size)) / 4,
        "close": close,
        "volume": draw.integers(1_000_000, 2_000_000, dates.size),
    }
    rows = zip(*(values[column].tolist() for column in columns.split(",")), strict=True)
    folder.mkdir()
    text = "\n".join([columns, *(",".join(map(str, row)) for row in rows)])
    (folder / name).write_text(text + "\n", encoding="utf-8")


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what makes Lockstep or Python behave in another way."""
    ours = ("LOCKSTEP_", "COV_", "PYTEST_", "PYTHON", "VIRTUAL_ENV", "OMP_", "NUMBA_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    cache = os.environ.get("LOCKSTEP_CACHE_DIR")
    return kept | ({"LOCKSTEP_CACHE_DIR": cache} if cache else {})


def walk(clone: Clone) -> Iterator[Ran]:
    """Run everything in a borrowed environment; what `make` would run for minutes is only looked up."""
    clone.borrow()
    put_bars(clone.folder / "my_bars", clone.readme)
    for command in read_commands(clone.readme):
        if command.serves:
            yield serve_notebooks(clone, command)
        elif command.text.startswith("make "):
            yield clone.run(replace(command, text=command.text.replace("make ", "make --dry-run ", 1)))
        else:
            yield clone.run(command)


def serve_notebooks(clone: Clone, command: Command) -> Ran:
    """Start Jupyter without browser and login, as root where need be, and ask it for the first notebook."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = (
        f"--no-browser --allow-root --port {port} --ServerApp.port_retries=0 --IdentityProvider.token=''"
    )
    kept = {f"JUPYTER_{name}_DIR": str(clone.folder / ".jupyter") for name in ("CONFIG", "DATA", "RUNTIME")}
    url = f"http://127.0.0.1:{port}/api/contents/01_from_bars_to_backtest.ipynb?content=0"
    return clone.serve(command, url, settings={"ARGS": arguments, **kept})


def fresh_machine(clone: Clone, other: Clone) -> Iterator[Ran]:
    """Run everything as README has it: `make test` with a selection, since it would come back here.

    other   for what serves, so that its environment is that of its own lock file; one notebook is run there
    """
    put_bars(clone.folder / "my_bars", clone.readme)
    for command in read_commands(clone.readme):
        if command.serves:
            yield serve_notebooks(other, command)
            notebook = "notebooks/01_from_bars_to_backtest.ipynb"
            yield other.run(Command(text=f".venv/bin/jupyter execute {notebook}", seconds=60.0))
        elif command.text == "make test":
            yield clone.run(
                command, settings={"ARGS": "tests/unit/test_decision.py tests/component/test_locks.py"}
            )
        else:
            yield clone.run(command)


def main() -> None:
    """Walk README on a fresh machine and print what came of it; exit code 1 when it is not as stated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the clone goes, and stays; none: a temporary one")
    declared = parser.parse_args().folder
    folder = declared or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    programs = folder / "programs"
    programs.mkdir()
    (programs / "uv").write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    (programs / "uv").chmod(0o755)
    environment = clean_environment() | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "LOCKSTEP_CACHE_DIR": str(folder / "cache"),
    }
    results = []
    clones = [Clone(folder / name, environment=environment) for name in ("lockstep", "notebooks")]
    for ran in fresh_machine(*clones):
        print(f"{ran.seconds:6.1f} s  {ran.fault or ran.command.text}", file=sys.stderr)
        results.append(asdict(ran) | {"fault": ran.fault})
    if declared is None:
        shutil.rmtree(folder)
    print(json.dumps(results, indent=1))
    sys.exit(any(each["fault"] for each in results))


if __name__ == "__main__":
    main()
