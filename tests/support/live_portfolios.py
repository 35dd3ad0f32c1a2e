"""A desk on the embedded indices whose live.yml names a portfolio."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from support import desks, papers
from support.models import RECORD

LIMITS: Mapping[str, Any] = {
    "max_contracts": 100,
    "max_total_contracts": 100,
    "max_orders_per_day": 100,
    "max_daily_loss": 1e9,
    "collar": {"percent": 50.0},
    "stale_seconds": 1e9,
}
PORTFOLIO: Mapping[str, Any] = {
    "name": "desk",
    "capital": 200_000.0,
    "day": "NYSE",
    "lanes": [
        {"symbol": "COMP", "version": "production", "units": 2, "max_contracts": 4},
        {"symbol": "SPX", "version": "production", "units": 1, "max_contracts": 4},
    ],
    "rank": {"by": "probability"},
    "groups": {"us_equity": {"symbols": ["COMP", "SPX"], "max_gross": 1.0}},
    "limits": {"max_positions": 1, "max_gross": 2.0, "daily_loss": {"fraction": 0.0005}},
}


def desk(folder: Path, *, portfolio: Mapping[str, Any] | None = None, **changes: Any) -> Path:
    """Write a desk that trades two indices as a portfolio, and return its live.yml."""
    if not (folder / "store").is_dir():
        store = papers.store(folder / "store")
        store.register(desks.bundle("SPX"), record=RECORD, by="me", now=papers.NOW)
        store.promote("SPX", "v1", by="me", now=papers.NOW, reason="test", force=True)
    (folder / "desk.yml").write_text(yaml.safe_dump({**PORTFOLIO, **(portfolio or {})}))
    return papers.config(folder, **{"portfolio": str(folder / "desk.yml"), "instruments": [], **changes})
