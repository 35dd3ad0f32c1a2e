"""Faults planted in a copy of the sources, and processes that import the copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.processes import LONGEST, ROOT, python


class SourceCopy:
    """A copy of some folders of the checkout, importable in place of the installed package."""

    def __init__(self, root: Path, *folders: str) -> None:
        self.root = root
        self._planted = 0
        for folder in folders:
            shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
        (root / "packages").mkdir()
        (root / "packages" / "lockstep").symlink_to(root / "src", target_is_directory=True)

    def environment(self, *, compiled: bool) -> dict[str, str]:
        """Return the environment of a process that imports the copy, `compiled` or as plain Python.

        Every fault makes all kernels stale, and compiling them takes longer than what most processes compute.
        """
        # In CI pytest shows whole differences, which takes it minutes where two long lists differ a lot.
        left_out = ("COV_", "PYTEST_", "PYTHON", "NUMBA_", "CI")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        return kept | {
            "PYTHONPATH": f"{self.root / 'packages'}{os.pathsep}{self.root}",
            "LOCKSTEP_CACHE_DIR": str(self.root / "cache"),
            "NUMBA_DISABLE_JIT": "0" if compiled else "1",
        }

    @contextmanager
    def fault(self, file: str, old: str, new: str) -> Iterator[None]:
        """Write `new` in place of `old`, which must be there once; no two states of a file have one time.

        Python takes bytecode for a file's if it has the file's size and, in whole seconds, its time.
        """
        path = self.root / file
        original, times = path.read_text(encoding="utf-8"), path.stat()
        assert original.count(old) == 1, f"{file}: the source moved on: plant the fault anew"
        path.write_text(original.replace(old, new), encoding="utf-8")
        self._planted += 1
        os.utime(path, (self._planted, self._planted))
        try:
            yield
        finally:
            path.write_text(original, encoding="utf-8")
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def test(self, *tests: str, compiled: bool) -> subprocess.CompletedProcess[str]:
        """Run tests of the copy, as plain Python or in a process that compiles."""
        words = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests)
        environment = self.environment(compiled=compiled)
        if not compiled:
            # Without installed plugins: pytest wants to import them itself.
            environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
            return python(*words, folder=self.root, environment=environment)
        return subprocess.run(
            [sys.executable, *words], cwd=self.root, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=LONGEST,
        )  # fmt: skip
