"""`scripts/environment.sh` installs what a lock file names and nothing else, or says in one line why not."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "environment.sh"
WITHOUT_UV = "#!/bin/sh\nexit 127\n"


def wheel(folder: Path, name: str, version: str, *requires: str) -> str:
    """Write a wheel and return its line for a lock file."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    contents = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {each}\n" for each in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for path, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).decode().rstrip("=")
        lines.append(f"{path},sha256={digest},{len(content)}")
    contents[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,\n"])
    file = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for path, content in contents.items():
            archive.writestr(path, content)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"


class Machine:
    """A machine with a Python, an index of small wheels, and perhaps a working uv."""

    def __init__(self, folder: Path, *, uv: str | None) -> None:
        self.folder = folder
        self.index = folder / "index"
        self.programs = folder / "programs"
        for each in (self.index, self.programs):
            each.mkdir(parents=True)
        if uv is not None:
            self.program("uv", uv)

    def program(self, name: str, text: str) -> Path:
        path = self.programs / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    def install(self, *lines: str, python: object = sys.executable) -> subprocess.CompletedProcess[str]:
        lock = self.folder / "small.lock"
        lock.write_text("".join(lines), encoding="utf-8")
        settings = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
        # The second location does not exist, which pip remarks upon at every call.
        places = f"{self.index} {self.folder / 'unplugged'}"
        offline = {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": places,
            "UV_NO_INDEX": "1",
            "UV_FIND_LINKS": str(self.index),
        }
        return subprocess.run(
            [SCRIPT, "--bare", lock.name, "env"],
            cwd=self.folder,
            env={
                **settings,
                **offline,
                "PYTHON": str(python),
                "PATH": f"{self.programs}:{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def version(self, name: str) -> str:
        """Return the version of a module in the environment, or why it cannot be imported."""
        code = f"import {name}; print({name}.version)"
        done = subprocess.run(
            [self.folder / "env/bin/python", "-c", code], capture_output=True, text=True, check=False
        )
        return (done.stdout or done.stderr).strip().splitlines()[-1]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """An environment whose Python was upgraded away, after the script; creating one takes seconds."""
    machine = Machine(tmp_path_factory.mktemp("rebuilt"), uv=WITHOUT_UV)
    (machine.folder / "env" / "bin").mkdir(parents=True)
    (machine.folder / "env" / "pyvenv.cfg").touch()
    for name in ("python", "python3"):
        (machine.folder / "env" / "bin" / name).symlink_to(machine.folder / "gone")
    done = machine.install(wheel(machine.index, "zeta", "1.0"))
    assert machine.version("zeta") == "1.0"
    return machine.folder / "env", done


def works(uv: str | None) -> bool:
    return (
        uv is not None and subprocess.run([uv, "--version"], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture(params=["pip", "uv"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    """The same machine twice: all that follows holds for both installers."""
    if request.param == "uv":
        if not works(shutil.which("uv")):
            pytest.skip("no working uv on this machine")
        return Machine(tmp_path, uv=None)
    shutil.copytree(request.getfixturevalue("rebuilt")[0], tmp_path / "env", symlinks=True)
    return Machine(tmp_path, uv=WITHOUT_UV)


def test_a_complete_lock_is_installed_without_a_word_of_the_installer(machine: Machine) -> None:
    lines = [wheel(machine.index, "alpha", "1.0", "beta>=1"), wheel(machine.index, "beta", "1.0")]
    wheel(machine.index, "beta", "2.0")  # Released since: whoever resolved would take it.
    done = machine.install(*lines)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Installing small.lock into env; this may take two minutes.\n"
    assert (machine.version("alpha"), machine.version("beta")) == ("1.0", "1.0")


def test_an_incomplete_lock_is_refused_by_name_and_not_completed(machine: Machine) -> None:
    line = wheel(machine.index, "alpha", "1.0", "beta>=1")
    wheel(machine.index, "beta", "1.0")
    done = machine.install(line)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "the packages in env do not fit together" in done.stderr
    assert "beta" in done.stderr
    assert "small.lock is incomplete" in done.stderr
    assert "No module named 'beta'" in machine.version("beta")


def test_a_version_that_does_not_fit_is_refused(machine: Machine) -> None:
    done = machine.install(
        wheel(machine.index, "alpha", "1.0", "beta>=2"), wheel(machine.index, "beta", "1.0")
    )
    assert done.returncode == 2
    assert "beta" in done.stderr.splitlines()[-1]


def test_another_file_under_the_same_name_is_refused(machine: Machine) -> None:
    line = wheel(machine.index, "alpha", "1.0")
    wheel(machine.index, "alpha", "1.0", "beta>=1")
    done = machine.install(line)
    assert done.returncode == 2
    assert "hash" in done.stderr.lower()
    assert done.stderr.splitlines()[-1] == "environment: small.lock was not installed into env, see above"
    assert "No module named 'alpha'" in machine.version("alpha")


def test_a_package_without_a_wheel_is_refused_and_not_built(machine: Machine) -> None:
    source = machine.index / "alpha-1.0.tar.gz"
    source.write_bytes(b"its setup.py would run here")
    done = machine.install(f"alpha==1.0 --hash=sha256:{hashlib.sha256(source.read_bytes()).hexdigest()}\n")
    assert done.returncode == 2
    assert "alpha" in done.stderr
    assert done.stderr.splitlines()[-1] == "environment: small.lock was not installed into env, see above"


RECORDING_UV = """#!/bin/sh
echo "$*" >>"{folder}/asked"
case "$1 $2" in
    "venv "*) mkdir -p env/bin && touch env/pyvenv.cfg && ln -s "{python}" env/bin/python ;;
    "pip check") {check} ;;
esac
"""


@pytest.mark.parametrize(("check", "code"), [("true", 0), ("echo 'alpha requires beta' >&2; exit 1", 2)])
def test_uv_is_asked_for_the_same(tmp_path: Path, check: str, code: int) -> None:
    uv = RECORDING_UV.format(folder=tmp_path, python=sys.executable, check=check)
    done = Machine(tmp_path, uv=uv).install("alpha==1.0\n")
    assert done.returncode == code
    assert ("alpha requires beta" in done.stderr) == bool(code)
    assert (tmp_path / "asked").read_text(encoding="utf-8").splitlines() == [
        "--version",
        f"venv --quiet --python {sys.executable} env",
        "pip install --quiet --python env/bin/python --compile-bytecode --no-deps"
        " --require-hashes --only-binary :all: -r small.lock",
        "pip check --python env/bin/python",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [("#!/bin/sh\necho 3.9.18\nexit 1\n", "is 3.9.18"), (WITHOUT_UV, "is no working Python")],
)
def test_a_python_that_will_not_do_is_refused(tmp_path: Path, text: str, said: str) -> None:
    machine = Machine(tmp_path, uv=WITHOUT_UV)
    done = machine.install(python=machine.program("python-old", text))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "needs Python 3.11 or later" in done.stderr
    assert said in done.stderr
    assert not (tmp_path / "env").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "thesis.txt").touch()
    done = Machine(tmp_path, uv=WITHOUT_UV).install()
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "env is in the way" in done.stderr
    assert (tmp_path / "env" / "thesis.txt").exists()


def test_an_environment_whose_python_is_gone_is_built_anew(
    rebuilt: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    assert (rebuilt[1].returncode, rebuilt[1].stderr) == (0, "")


def test_an_environment_without_pip_gets_one(
    tmp_path: Path, rebuilt: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    machine = Machine(tmp_path, uv=WITHOUT_UV)
    shutil.copytree(rebuilt[0], tmp_path / "env", symlinks=True)
    for part in next((tmp_path / "env/lib").glob("python*/site-packages")).glob("pip*"):
        shutil.rmtree(part)
    done = machine.install(wheel(machine.index, "alpha", "1.0"))
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.version("alpha") == "1.0"


def test_the_smoke_test_says_that_it_is_skipped(tmp_path: Path) -> None:
    machine = Machine(tmp_path, uv=None)
    machine.program("python3.13", "#!/bin/sh\necho 'python3.13: command not found' >&2\nexit 127\n")
    nowhere = {"PYENV_ROOT": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        [ROOT / ".ci" / "smoke", tmp_path / "smoke"],
        cwd=ROOT,
        env={**os.environ, **nowhere, "PATH": f"{machine.programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "smoke test SKIPPED: no working Python 3.13 on this machine\n"
    assert not (tmp_path / "smoke").exists()
