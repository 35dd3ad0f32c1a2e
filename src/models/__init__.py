"""Models: bundles, the manifest, and the verbs on them.

The store and its verbs load without scikit-learn, so a rollback is instant; functions that read or
write bundles load it on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lockstep.models.manifest import Evidence, Manifest, TrainingRecord
from lockstep.models.policy import Policy
from lockstep.models.store import ModelStore, load_bundle
from lockstep.models.verbs import Change

if TYPE_CHECKING:
    from lockstep.models.bundle import Bundle, read_bundle, save_bundle
    from lockstep.models.golden import GoldenVectors, golden_vectors
    from lockstep.models.libraries import library_versions

__all__ = [
    "Bundle",
    "Change",
    "Evidence",
    "GoldenVectors",
    "Manifest",
    "ModelStore",
    "Policy",
    "TrainingRecord",
    "golden_vectors",
    "library_versions",
    "load_bundle",
    "read_bundle",
    "save_bundle",
]

_ON_DEMAND = {
    "Bundle": "bundle",
    "GoldenVectors": "golden",
    "derived_column": "model_column",
    "golden_vectors": "golden",
    "library_versions": "libraries",
    "read_bundle": "bundle",
    "save_bundle": "bundle",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_ON_DEMAND[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
