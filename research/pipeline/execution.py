"""A night from its first step to its last. Killed at any moment, the next start goes on where it was.

A step writes into a folder beside its own, which is renamed when it is complete; then its row is written.
Killed in between, the folder is there and is taken as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar

from lockstep.errors import LockstepError, PipelineError
from lockstep.files import replace_file, replacing_folder
from lockstep.identity import is_changed_on_disk, text_digest
from research.pipeline.book import BEGUN, FAILED, FINISHED, STEP, NightBook, NightEvent
from research.pipeline.graph import Pipeline, PipelineStep
from research.utils.at_work import holder, only_one

C = TypeVar("C")

_ABOUT = "step.json"
_LOCK = "running.lock"
_DIGITS = 16


class Outcome(StrEnum):
    """What became of a step in this start: done, done before, failed, left out, or would be done."""

    DONE = "done"
    KEPT = "kept"
    FAILED = "failed"
    LEFT_OUT = "left out"
    WOULD = "would run"


@dataclass(frozen=True, kw_only=True)
class StepOutcome:
    """One step of a start; `folder` is what it left, None where it left nothing."""

    name: str
    outcome: Outcome
    sentence: str
    key: str = ""
    folder: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Night(Generic[C]):
    """One night.

    name      its name, the date of the newest session, and `context` what its steps are given
    digest    of all that it is made of, recorded at its end: a later start sees whether anything is new
    folder    where the folders of steps are: folder/STEP/KEY
    hear      is told each outcome as it comes
    """

    name: str
    pipeline: Pipeline[C]
    context: C
    book: NightBook
    folder: Path
    digest: str = ""
    hear: Callable[[StepOutcome], None] = lambda outcome: None
    outcomes: list[StepOutcome] = field(default_factory=list)

    def run(self) -> list[StepOutcome]:
        """Do what is not done yet. A step that fails stops those that need it, and no other.

        Raises: PipelineError at the end where a step failed; at once where the code on the disk is not the
        one that runs, or another process is at work on the folder.
        """
        with only_one_night(self.folder, self.name, self.book.now()):
            self.book.require_clock()
            for leftover in self.folder.glob("*/.*.tmp"):
                shutil.rmtree(leftover, ignore_errors=True)
            self.book.record(self.name, BEGUN, key=self.digest)
            self._walk(self._done)
            failed = [each for each in self.outcomes if each.outcome is Outcome.FAILED]
            if failed:
                raise PipelineError(f"night {self.name}: {failed[0].sentence}{_more(len(failed))}")
            self.book.record(self.name, FINISHED, key=self.digest)
        return self.outcomes

    def rehearse(self) -> list[StepOutcome]:
        """Say what would be done, and change nothing."""
        self._walk(self._would)
        return self.outcomes

    def _walk(self, take: Callable[[PipelineStep[C], str, Mapping[str, Path]], StepOutcome]) -> None:
        outputs: dict[str, str] = {}
        folders: dict[str, Path] = {}
        missing: dict[str, Outcome] = {}
        for step in self.pipeline.ordered:
            gone = [name for name in step.needs if name in missing]
            late = [name for name in step.after if missing.get(name) is Outcome.WOULD]
            if gone or late:
                found = self._without(step, gone or late, missing)
            else:
                found = self._taken(step, folders, outputs, take)
            if found.folder is None:
                missing[step.name] = found.outcome
            else:
                folders[step.name], outputs[step.name] = found.folder, digest_of(found.folder)
            self.outcomes.append(found)
            self.hear(found)

    def _taken(
        self,
        step: PipelineStep[C],
        folders: Mapping[str, Path],
        outputs: Mapping[str, str],
        take: Callable[[PipelineStep[C], str, Mapping[str, Path]], StepOutcome],
    ) -> StepOutcome:
        read = {name: folders[name] for name in (*step.needs, *step.after) if name in folders}
        try:
            return take(step, step.key(self.context, read, outputs), read)
        except (LockstepError, OSError) as error:
            if is_changed_on_disk():
                raise _changed(self.name) from error
            reason = _reason(error)
            # Where nothing can be written any more, the line on the terminal is all there is.
            with suppress(LockstepError):
                self.book.record(self.name, FAILED, step=step.name, key=text_digest(reason), sentence=reason)
            return StepOutcome(name=step.name, outcome=Outcome.FAILED, sentence=f"{step.name}: {reason}")

    def _done(self, step: PipelineStep[C], key: str, read: Mapping[str, Path]) -> StepOutcome:
        if is_changed_on_disk():
            raise _changed(self.name)
        place, known = self._place(step, key), self.book.step(step.name, key)
        if known is not None and place.exists():
            _require_as_left(step.name, place, known)
            self._record(step, key, place, known.sentence)
            return _kept(step, key, place, known.sentence)
        if not place.exists():
            with replacing_folder(place) as folder:
                sentence = step.work(self.context, read, folder)
                replace_file(folder / _ABOUT, json.dumps({"key": key, "sentence": sentence}), durable=False)
        sentence = str(json.loads((place / _ABOUT).read_text(encoding="utf-8"))["sentence"])
        if known is not None:
            _require_as_left(step.name, place, known)
        self._record(step, key, place, sentence)
        return StepOutcome(name=step.name, outcome=Outcome.DONE, sentence=sentence, key=key, folder=place)

    def _record(self, step: PipelineStep[C], key: str, place: Path, sentence: str) -> None:
        """Write down what tonight uses, whichever night made it."""
        self.book.record(self.name, STEP, step=step.name, key=key, output=digest_of(place), sentence=sentence)

    def _would(self, step: PipelineStep[C], key: str, read: Mapping[str, Path]) -> StepOutcome:
        place, known = self._place(step, key), self.book.step(step.name, key)
        if known is not None and place.exists():
            return _kept(step, key, place, known.sentence)
        sentence = self._foretold(step, read, f"key {key[:_DIGITS]}")
        return StepOutcome(name=step.name, outcome=Outcome.WOULD, sentence=sentence, key=key)

    def _without(
        self, step: PipelineStep[C], gone: list[str], missing: Mapping[str, Outcome]
    ) -> StepOutcome:  # fmt: skip
        if any(missing[each] is not Outcome.WOULD for each in gone):
            sentence = f"needs {', '.join(gone)}"
            return StepOutcome(name=step.name, outcome=Outcome.LEFT_OUT, sentence=sentence)
        sentence = self._foretold(step, {}, f"after {', '.join(gone)}")
        return StepOutcome(name=step.name, outcome=Outcome.WOULD, sentence=sentence)

    def _foretold(self, step: PipelineStep[C], read: Mapping[str, Path], sentence: str) -> str:
        return "; ".join(each for each in (sentence, step.foretell(self.context, read)) if each)

    def _place(self, step: PipelineStep[C], key: str) -> Path:
        return place_of(self.folder, step.name, key)


def place_of(folder: Path, step: str, key: str) -> Path:
    """Return the folder that a step with this key leaves."""
    return folder / step / key[:_DIGITS]


def digest_of(folder: Path) -> str:
    """Return the SHA-256 (hex) of a folder: the names of its files and what is in them."""
    found = hashlib.sha256()
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return found.hexdigest()


@contextmanager
def only_one_night(folder: Path, night: str, now: datetime) -> Iterator[None]:
    """Hold the folder's lock; PipelineError, saying who has it and since when, where another process does."""
    says = f"process {os.getpid()} is at work on night {night}, since {now:%Y-%m-%d %H:%M} UTC"
    with only_one(folder / _LOCK, says, where=str(folder), error=PipelineError):
        yield


def prune(folder: Path, book: NightBook, nights: int) -> int:
    """Remove the folders that none of the newest `nights` nights used; returns how many."""
    events = [each for each in book.events() if each.kind in (STEP, BEGUN)]
    kept = set(list(dict.fromkeys(each.night for each in events))[-nights:])
    used = {(each.step, each.key[:_DIGITS]) for each in events if each.kind == STEP and each.night in kept}
    removed = 0
    for place in folder.glob("*/*"):
        if place.is_dir() and not place.name.startswith(".") and (place.parent.name, place.name) not in used:
            shutil.rmtree(place)
            removed += 1
    return removed


def at_work_on(folder: Path) -> str:
    """Return who is at work on a folder, and since when; empty where nobody is."""
    return holder(folder / _LOCK)


def _kept(step: PipelineStep[C], key: str, place: Path, sentence: str) -> StepOutcome:
    return StepOutcome(name=step.name, outcome=Outcome.KEPT, sentence=sentence, key=key, folder=place)


def _require_as_left(name: str, place: Path, known: NightEvent) -> None:
    found = digest_of(place)
    if found != known.output:
        raise PipelineError(
            f"{place}: is {found[:12]}, and step {name} left {known.output[:12]}: somebody changed it, or it "
            "does not come out the same twice; remove the folder, and run the night again"
        )


def _changed(night: str) -> PipelineError:
    return PipelineError(
        f"night {night}: the code on the disk changed while it ran; run it again: what is done stays done "
        "where its code is the same"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, LockstepError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or type(error).__name__}"
    return str(error)


def _more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""
