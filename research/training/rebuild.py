"""Make a historical version again, from its record, and compare the SHA-256.

Run as a module it does so in the checkout that it lies in: record (JSON) on standard input, findings (JSON)
on standard output. `lockstep models rebuild` starts it in a worktree of the recorded commit where the code of
this checkout is another one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lockstep.errors import LockstepError, TrainingError
from lockstep.identity import (
    RELEASING,
    TRAINING,
    checkout_root,
    code_hash,
    lock_hash,
    only_proves,
    training_versions,
)
from lockstep.market.history import History
from lockstep.models.bundle import Bundle, bundle_bytes
from lockstep.models.content import sha256_of
from lockstep.models.manifest import TrainingRecord
from research.training.bundling import data_hashes, make_bundle
from research.training.config import StrategyRelease, TrainingConfig, recorded_config
from research.training.dataset import build_dataset
from research.training.release import ReleasedStrategy
from research.training.run import load_training_history, read_history
from research.training.train import train

# A record may come from another store: what git would take for an option is none.
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What came out.

    sha256        of the bundle, or "" where it was not trained, since some input makes it another one
    differences   one sentence per input that is not the recorded one
    remarks       what differs and is no part of the bundle
    """

    sha256: str
    differences: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def verdict(self, registered: str) -> str:
        """Return in words how this compares with the SHA-256 that was registered."""
        if self.sha256 == registered:
            return f"the same, {registered}"
        if self.sha256:
            return f"another one: {registered} was registered, {self.sha256} came out"
        return f"cannot be {registered}, since its inputs differ; not trained"


def rebuild(record: TrainingRecord, data_dir: Path | None = None, *, jobs: int = -1) -> Rebuilt:
    """Train again from a record, with the code and the libraries of this process.

    data_dir   folder of the bars; None: the recorded one

    Nothing is registered and no trial is counted: the recorded steps were.
    """
    config = recorded_config(record)
    history = _history(config, data_dir or record.data_dir)
    differences = (
        *other_code(record, _root(config)),
        *differing("bars", record.data_hashes, data_hashes(history)),
        *differing("library", record.versions, training_versions()),
    )
    here = lock_hash()
    remarks = differing("lock file", {"content": record.lock_hash}, {"content": here})
    if differences:
        return Rebuilt(sha256="", differences=differences, remarks=remarks)
    bundle = _made(config, history, record.seed, jobs)
    return Rebuilt(sha256=sha256_of(bundle_bytes(bundle)), remarks=remarks)


def _history(config: TrainingConfig | StrategyRelease, data_dir: Path | str | None) -> History:
    if isinstance(config, StrategyRelease):
        return read_history(config, data_dir=data_dir)
    return load_training_history(config, data_dir)


def _made(config: TrainingConfig | StrategyRelease, history: History, seed: int, jobs: int) -> Bundle:
    if isinstance(config, StrategyRelease):
        return ReleasedStrategy.of(config, history).bundle
    outcome = train(config, build_dataset(config, history), seed=seed, jobs=jobs)
    return make_bundle(outcome, history)


def rebuild_anywhere(record: TrainingRecord, data_dir: Path | None = None, *, jobs: int = -1) -> Rebuilt:
    """Train again with the recorded code: here where it is the same, else in a worktree of its commit.

    TrainingError where git cannot make the worktree, or its code has no rebuild.
    """
    return here_or_at_commit(
        record, _root(recorded_config(record)), lambda: rebuild(record, data_dir, jobs=jobs),
        module="research.training.rebuild", data_dir=data_dir, jobs=jobs,
    )  # fmt: skip


def here_or_at_commit(
    record: TrainingRecord,
    code: str,
    here: Callable[[], Rebuilt],
    *,
    module: str,
    data_dir: Path | None,
    jobs: int = 1,
) -> Rebuilt:
    """Return what `here` rebuilds where the code is the recorded one, else what `module` does at its commit.

    code   root of `ROOTS` whose hash tells; module: reads the record from its standard input
    """
    root = checkout_root()
    if record.code_hash == code_hash(code) or not record.code_revision or root is None:
        return here()
    with _worktree(root, record.code_revision) as tree:
        return _in(tree, record, module, data_dir, jobs)


def _root(config: TrainingConfig | StrategyRelease) -> str:
    return RELEASING if isinstance(config, StrategyRelease) else TRAINING


def other_code(record: TrainingRecord, root: str) -> tuple[str, ...]:
    """Return a sentence where the code that a root of `ROOTS` reaches is not the recorded one."""
    if word := only_proves(record.code_hash):
        commit = f"commit {record.code_revision[:12]}" if record.code_revision else "no commit"
        return (f"code sources: {word}; it was {commit}",)
    return differing("code", {"sources": record.code_hash}, {"sources": code_hash(root)})


def differing(what: str, then: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Return a sentence for each name whose value is not the recorded one."""
    return tuple(
        f"{what} {name}: {_short(then.get(name))} was recorded, {_short(now.get(name))} is here"
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    )


def _short(value: str | None) -> str:
    return value[:16] if value else "nothing"


@contextmanager
def _worktree(root: Path, revision: str) -> Iterator[Path]:
    """Yield a folder with the commit checked out, removed afterwards."""
    if not _COMMIT.fullmatch(revision):
        raise TrainingError(
            f"commit {revision[:40]!r}: no commit of git; the record was not written by Lockstep"
        )
    with tempfile.TemporaryDirectory(prefix="lockstep-rebuild-") as folder:
        tree = Path(folder) / "tree"
        made = _git(root, "worktree", "add", "--detach", str(tree), revision)
        if made.returncode != 0:
            reason = made.stderr.strip().splitlines()[-1] if made.stderr.strip() else "git failed"
            raise TrainingError(
                f"commit {revision[:12]}: cannot be checked out beside this one: {reason}; fetch it first"
            )
        try:
            yield tree
        finally:
            _git(root, "worktree", "remove", "--force", str(tree))


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)


def _in(tree: Path, record: TrainingRecord, module: str, data_dir: Path | None, jobs: int) -> Rebuilt:
    """Run a module in a checkout, with the environment of this process."""
    folder = data_dir or (None if record.data_dir is None else Path(record.data_dir))
    where = "" if folder is None else str(folder.resolve())
    done = subprocess.run(
        [sys.executable, "-m", module, where, str(jobs)],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tree / ".typing"), str(tree)))},
        input=record.model_dump_json(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no reason given"
        raise TrainingError(f"commit {record.code_revision[:12]}: cannot rebuild: {reason}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Rebuilt(
        sha256=found["sha256"], differences=tuple(found["differences"]), remarks=tuple(found["remarks"])
    )


def rebuild_from_input(
    again: Callable[[TrainingRecord, Path | None, int], Rebuilt], where: str, jobs: str
) -> None:
    """Rebuild the record on standard input, and print what was found as JSON; see the module."""
    record = TrainingRecord.model_validate_json(sys.stdin.read())
    print(json.dumps(asdict(again(record, Path(where) if where else None, int(jobs)))))


def main(where: str, jobs: str) -> None:
    """Rebuild the veto on standard input; see the module."""
    rebuild_from_input(lambda record, folder, processes: rebuild(record, folder, jobs=processes), where, jobs)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except LockstepError as error:
        sys.exit(" ".join(str(error).split()))
