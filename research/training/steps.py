"""Finished search steps on disk, so that a training that was killed goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lockstep.errors import TrainingError
from lockstep.files import replace_file
from lockstep.models.content import file_content
from research.training.outcome_file import attempt_bytes, attempt_of
from research.training.search import Diary, SearchAttempt

Count = Callable[[str, SearchAttempt], None]


@dataclass(frozen=True)
class StepFolder(Diary):
    """One file per finished step, complete or not there.

    count   enters an attempt into the trial ledger, before it is stored: what was tried stays counted
    """

    folder: Path
    count: Count

    def recall(self, search: str, number: int) -> SearchAttempt | None:
        """Return an attempt that an earlier process stored; TrainingError where its file is damaged."""
        path = self._path(search, number)
        if not path.exists():
            return None
        try:
            return attempt_of(file_content(path), str(path))
        except OSError as error:
            raise TrainingError(
                f"{path}: {error.strerror}; delete it, and the step will be repeated"
            ) from error
        except TrainingError as error:
            raise TrainingError(f"{error}; delete the file, and the step will be repeated") from error

    def keep(self, search: str, number: int, attempt: SearchAttempt) -> None:
        """Count an attempt, then store it; StoreFailure where the disk refuses."""
        self.count(search, attempt)
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(self._path(search, number), attempt_bytes(attempt))

    @property
    def finished(self) -> int:
        """How many steps are stored."""
        return len(list(self.folder.glob("*.joblib")))

    def forget(self) -> None:
        """Remove what an earlier run of the same training left; its trials stay counted."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, search: str, number: int) -> Path:
        return self.folder / f"{search}-{number:04d}.joblib"
