"""The floating-point mode is found by arithmetic, and what departs from it is refused everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from lockstep import floats
from lockstep.errors import FloatModeError, LockstepError
from lockstep.floats import EXACT, float_mode, require_exact, require_still_exact
from support import float_modes
from support.float_modes import FLUSH, OPERANDS, TOWARDS_ZERO, UPWARD, switch

ROOT = Path(__file__).resolve().parents[2]
FLUSHED, AS_ZERO = "denormal results are flushed to zero", "denormal operands are read as zero"
MODES = {
    FLUSH: [FLUSHED] if float_modes.X86 else [FLUSHED, AS_ZERO],
    OPERANDS: [AS_ZERO] if float_modes.X86 else [FLUSHED, AS_ZERO],
    FLUSH | OPERANDS: [FLUSHED, AS_ZERO],
    UPWARD: ["rounds upward"],
    TOWARDS_ZERO: ["rounds downward or towards zero"],
}


@pytest.fixture
def switched() -> Iterator[None]:
    """Switch back whatever a test switched."""
    yield
    switch()


def mode_with(bits: int) -> str:
    require_exact()  # compiles
    switch(bits)
    try:
        return float_mode()
    finally:
        switch()


def test_this_process_keeps_denormals() -> None:
    assert require_exact() == EXACT == float_mode()
    require_still_exact()


@pytest.mark.parametrize("bits", MODES)
def test_every_mode_is_told_and_in_whose_arithmetic(bits: int) -> None:
    assert mode_with(bits) == "; ".join(f"{flaw} (Python, numpy, kernels)" for flaw in MODES[bits])


@pytest.mark.no_cover
@pytest.mark.parametrize("bits", MODES)
@pytest.mark.parametrize("check", [require_exact, require_still_exact])
def test_other_modes_are_refused_in_one_line(switched: None, bits: int, check: object) -> None:
    require_exact()
    switch(bits)
    with pytest.raises(FloatModeError) as refusal:
        check()  # type: ignore[operator]
    switch()
    said = str(refusal.value)
    assert said.startswith(f"floating-point mode of thread MainThread: {MODES[bits][0]}")
    assert "A library compiled with -ffast-math changes it when it is imported" in said
    assert "\n" not in said


def test_a_mode_belongs_to_a_thread() -> None:
    found: dict[str, object] = {}

    def work() -> None:
        switch(FLUSH)
        try:
            require_still_exact()
        except LockstepError as error:
            found["error"] = str(error)

    thread = threading.Thread(target=work, name="decider")
    thread.start()
    thread.join()
    assert "thread decider" in str(found["error"])
    assert require_exact() == EXACT


def test_packages_that_no_lock_file_knows_are_named(switched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "/x/lib/python3.11/site-packages/fastlib/core/_loops.cpython-311-x86_64-linux-gnu.so"
    monkeypatch.setitem(sys.modules, "fastlib.core._loops", SimpleNamespace(__file__=place))  # type: ignore[arg-type]
    switch(FLUSH)
    with pytest.raises(FloatModeError, match=r"not in requirements\.lock: .*fastlib") as refusal:
        require_exact()
    switch()
    assert "numpy," not in str(refusal.value).partition("requirements.lock:")[2]
    monkeypatch.setattr(floats, "_LOCK", Path("/nowhere/requirements.lock"))
    switch(FLUSH)
    with pytest.raises(FloatModeError, match="when it is imported; remove or rebuild it"):
        require_exact()


COMMANDS = """
import contextlib, io, sys
from pathlib import Path
from certify.command import app as check_parity
from lockstep.console import run
from research.backtest_runner import app as backtest
from scripts.run_live import app as run_live
from scripts.train_model import app as train_model
from support import float_modes, papers

folder = Path(sys.argv[1])
papers.store(folder / "store")
commands = [
    (run_live, ["--config", str(papers.config(folder)), "--log", str(folder / "log")]),
    (check_parity, ["--symbol", "COMP", "--store", str(folder / "store")]),
    (backtest, ["--symbol", "COMP", "--start", "2018-12-03", "--out", str(folder / "out")]),
    (train_model, ["--config", "configs/demo/COMP.yml", "--out", str(folder / "training")]),
]
float_modes.switch(float_modes.FLUSH | float_modes.OPERANDS)
for app, arguments in commands:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            run(lambda: app(arguments))
        except SystemExit as ended:
            code = ended.code
    print(code, said.getvalue().strip())
print(sorted(path.name for path in folder.iterdir()))
"""


def test_every_command_that_decides_refuses(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "LOCKSTEP_DB": f"sqlite:///{tmp_path}/trials.db",
    }
    command = [sys.executable, "-W", "ignore", "-c", COMMANDS, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *refused, left = done.stdout.strip().splitlines()
    assert len(refused) == 4
    for line in refused:
        assert line.startswith(f"2 error: floating-point mode of thread MainThread: {FLUSHED}"), line
    assert left == str(["live.yml", "log", "status.heartbeat", "status.json", "store", "trials.db"])
