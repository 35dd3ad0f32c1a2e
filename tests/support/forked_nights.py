"""The command of a night in a process of its own, forked from the tests' process."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lockstep.console import run
from operations.main import app


@dataclass(frozen=True, kw_only=True)
class ForkedNight:
    """`lockstep pipeline run` in a process of its own: a fork, which has nothing to import."""

    pid: int
    out: Path
    err: Path

    @classmethod
    def begin(cls, folder: Path, before: Callable[[], None] = lambda: None) -> Self:
        """Begin it on the `nightly.yml` of a folder; `before` is called first of all in the new process."""
        out, err = (Path(tempfile.mkdtemp()) / each for each in ("out", "err"))
        pid = os.fork()
        if not pid:
            _be_the_command(folder, before, out, err)
        return cls(pid=pid, out=out, err=err)

    def end(self) -> tuple[int, str, list[str]]:
        """Wait for its end: exit code, what it printed, and its lines of complaint."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        out, err = (each.read_text(encoding="utf-8") for each in (self.out, self.err))
        for each in (self.out, self.err):
            shutil.rmtree(each.parent)
        return code, out, err.splitlines()


def _be_the_command(folder: Path, before: Callable[[], None], out: Path, err: Path) -> None:
    code = -1
    try:
        sys.stdout, sys.stderr = (path.open("w", encoding="utf-8") for path in (out, err))
        before()
        os.environ["LOCKSTEP_DB"] = f"sqlite:///{folder / 'experiments.db'}"
        sys.argv = ["lockstep", "pipeline", "run", "--config", str(folder / "nightly.yml")]
        run(lambda: app(prog_name="lockstep"))
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        # Whatever happens, the fork does not go on as the process of the tests.
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
