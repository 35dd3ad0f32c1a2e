"""Judgements on bundles of ES, without any bundle: what manifests are made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from lockstep.models.evidence import gathered_with
from lockstep.models.manifest import Evidence, TrainingRecord

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
RECORD = TrainingRecord(
    code_revision="0" * 40, code_hash="1" * 64, config={"symbol": "ES"}, config_path="ES.yml",
    data_hashes={"ES:1d": "2" * 64}, seed=7, lock_hash="3" * 64, python="3.11.7", versions={"numpy": "2"},
)  # fmt: skip


def evidence(
    sha256: str, *, kind: str = "validation", passed: bool = True, days: float | None = None, **changes: Any
) -> Evidence:
    """Return a judgement on a bundle of ES, gathered with all that is in use; it expires `days` after NOW."""
    values: dict[str, Any] = {
        "kind": kind,
        "passed": passed,
        "bundle_sha256": sha256,
        "expires": None if days is None else NOW + timedelta(days=days),
        "hashes": gathered_with(kind, ("ES", "NQ"), ("futures_daily",)),
        "symbols": ("ES", "NQ"),
        "sources": ("futures_daily",),
        "issued": NOW,
        "newest_bar": NOW,
        "counts": {"bars": 250, "sessions": 250, "trades": 20, "restarts": 1},
    }
    return Evidence(**{**values, **changes})
