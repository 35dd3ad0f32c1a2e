"""The manifest's record of a bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lockstep.models.content import sha256_of
from lockstep.models.document import plain
from lockstep.models.manifest import TrainingRecord, VersionEntry

if TYPE_CHECKING:
    from lockstep.models.bundle import Bundle


def entry_of(
    bundle: Bundle,
    content: bytes,
    *,
    file: str,
    record: TrainingRecord,
    parent: str | None,
    supersedes: str | None,
    supersedes_reason: str,
) -> VersionEntry:
    """Return the record of a bundle whose file holds `content`."""
    return VersionEntry(
        file=file,
        sha256=sha256_of(content),
        size=len(content),
        target=bundle.target,
        feature_ids=bundle.feature_ids,
        fingerprints=plain(bundle.fingerprints),
        strategy=plain(bundle.strategy),
        threshold=None if bundle.threshold is None else float(bundle.threshold),
        training_range=_range_of(bundle.training),
        metrics={name: _finite(value) for name, value in sorted(bundle.metrics.items())},
        parent=parent,
        supersedes=supersedes,
        supersedes_reason=supersedes_reason,
        record=record,
    )


def _range_of(training: Mapping[str, Any]) -> tuple[str, str] | None:
    found = training.get("range")
    return None if found is None else (str(found[0]), str(found[1]))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
