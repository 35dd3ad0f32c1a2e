"""Python processes of tests, started in the blink of an eye: see `forks.py`.

They import the project anew, from where they are told to, and have an environment, a folder and an exit code
of their own. What only Python itself reads when it starts has no effect: a hash seed, options, warnings.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 900


class Forks:
    """A process that forks; closed when this one ends."""

    def __init__(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTHON"))}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("forks.py"))],
            env=kept, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        atexit.register(self._process.communicate)

    def run(
        self, arguments: list[str], folder: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Return how a fork ended; TimeoutExpired if it did not."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([arguments, str(folder), dict(environment), LONGEST]) + "\n")
        self._process.stdin.flush()
        out, err, code = json.loads(self._process.stdout.readline())
        if code == -signal.SIGALRM:
            raise subprocess.TimeoutExpired(arguments, LONGEST, out, err)
        return subprocess.CompletedProcess(arguments, code, out, err)


_forks = functools.cache(Forks)


def python(
    *arguments: object, folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Return how Python ended with arguments `-m module ...`, `-c code ...` or `script ...`.

    environment   None for this process's
    """
    words = [str(each) for each in arguments]
    return _forks().run(words, folder, os.environ if environment is None else environment)
