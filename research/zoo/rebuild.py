"""Train a version of the zoo again, from its record, and compare the SHA-256; as `research.training.rebuild`.

Run as a module it does so in the checkout that it lies in: `lockstep models rebuild` starts it in a worktree
of the recorded commit where the code of this checkout is another one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lockstep.errors import LockstepError
from lockstep.identity import ZOO, lock_hash, training_versions
from lockstep.models.bundle import bundle_bytes
from lockstep.models.content import sha256_of
from lockstep.models.manifest import TrainingRecord
from research.training.rebuild import Rebuilt, differing, here_or_at_commit, other_code, rebuild_from_input
from research.zoo.bundling import bars_of, build_of, built


def rebuild(record: TrainingRecord, data_dir: Path | None = None) -> Rebuilt:
    """Train again from a record, with the code and the libraries of this process.

    data_dir   folder of the bars; None: the recorded one

    Nothing is registered and no trial is counted: the recorded training was one.
    """
    build = build_of(record)
    bars = bars_of(build, data_dir)
    differences = (
        *other_code(record, ZOO),
        *differing("bars", record.data_hashes, build.data_hashes(bars)),
        *differing("library", record.versions, training_versions()),
    )
    remarks = differing("lock file", {"content": record.lock_hash}, {"content": lock_hash()})
    if differences:
        return Rebuilt(sha256="", differences=differences, remarks=remarks)
    return Rebuilt(sha256=sha256_of(bundle_bytes(built(build, bars))), remarks=remarks)


def rebuild_anywhere(record: TrainingRecord, data_dir: Path | None = None) -> Rebuilt:
    """Train again with the recorded code: here where it is the same, else in a worktree of its commit.

    TrainingError where git cannot make the worktree, or its code has no rebuild.
    """
    return here_or_at_commit(
        record, ZOO, lambda: rebuild(record, data_dir), module="research.zoo.rebuild", data_dir=data_dir
    )


if __name__ == "__main__":
    try:
        rebuild_from_input(lambda record, folder, _: rebuild(record, folder), *sys.argv[1:])
    except LockstepError as error:
        sys.exit(" ".join(str(error).split()))
