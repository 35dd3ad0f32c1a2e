"""`docs/features.md` is what the registry says today."""

from __future__ import annotations

from pathlib import Path

from lockstep.features.feature_docs import feature_page
from lockstep.features.feature_registry import FeatureRegistry, default_registry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"


def test_the_page_is_current() -> None:
    """Write it again with `python -m lockstep.features.feature_docs > docs/features.md`."""
    assert PAGE.read_text() == feature_page(default_registry())


def test_it_lists_every_feature_once() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(rows) == len(default_registry())
    assert all(line.count(" | ") == 6 for line in rows)


def test_a_missing_feature_shows() -> None:
    fewer = FeatureRegistry(declared for declared in default_registry() if declared.name != "ibs")
    assert feature_page(fewer) != PAGE.read_text()
