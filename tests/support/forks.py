"""Be Python in forks of a process that has imported other people's packages, and none of this project's.

It reads lines of JSON: Python's arguments (`-m module ...`, `-c code ...` or `script ...`), a folder to run
in, an environment and a time limit in seconds. It answers each with what the fork wrote and its exit code,
that of an alarm where the time was over.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numba.core import config

OTHERS = (
    "alembic.command", "arch.bootstrap", "backtrader", "exchange_calendars", "hypothesis.strategies",
    "jinja2", "joblib", "numba", "pandas", "plotly.graph_objects", "prometheus_client", "pyarrow.parquet",
    "pytest", "requests", "rich.progress", "scipy.stats", "sklearn.ensemble", "sklearn.linear_model",
    "sklearn.pipeline", "sqlalchemy.orm", "statsmodels.api", "tenacity", "typer.testing", "yaml",
)  # fmt: skip
OURS = {"lockstep", "research", "certify", "operations", "scripts", "support"}
_numba: Any = config


def be(arguments: list[str], folder: str, environment: Mapping[str, str], out: str, err: str) -> None:
    """Run a module, code or a script as Python does that is started with these arguments."""
    for number, path in enumerate((os.devnull, out, err)):
        os.dup2(os.open(path, os.O_WRONLY if number else os.O_RDONLY), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    _numba.reload_config()
    name, *rest = arguments
    places = [folder if name in ("-c", "-m") else str(Path(name).parent.absolute())]
    sys.path[:0] = places + [each for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.argv = rest if name == "-m" else arguments
    if name == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif name == "-c":
        del sys.argv[1]
        exec(rest[0], {"__name__": "__main__"})
    else:
        runpy.run_path(name, run_name="__main__")


def main() -> None:
    """Fork once for every line; a fork ends as the program itself would, with all that Python does then."""
    for name in OTHERS:
        importlib.import_module(name)
    assert not OURS & sys.modules.keys()
    folder = Path(tempfile.mkdtemp())
    out, err = folder / "out", folder / "err"
    for line in sys.stdin:
        *request, limit = json.loads(line)
        for path in (out, err):
            path.write_text("")
        child = os.fork()
        if not child:
            signal.alarm(limit)
            be(*request, str(out), str(err))
            return
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([out.read_text(), err.read_text(), code]), flush=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
