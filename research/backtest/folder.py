"""The folder that a run leaves: parquet for machines, a tear sheet for people, hashes for proof."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from lockstep.files import replacing_folder
from research.report.data import ReportData
from research.report.tearsheet import write_tearsheet


def write_run(
    final: Path,
    frames: Mapping[str, pd.DataFrame],
    metrics: Mapping[str, float],
    provenance: Mapping[str, Any],
    report: ReportData,
    *,
    shared_js: Path | None = None,
) -> Path:
    """Write `<name>.parquet` per frame, metrics.json, provenance.json and tearsheet.html into `final`.

    Equal inputs give byte-identical files. The folder appears complete or not at all, and replaces an
    earlier one of the same name. `shared_js` is a folder of the plotting library; see `write_page`.
    """
    with replacing_folder(final) as temporary, ThreadPoolExecutor(1) as beside:
        # Compressing the columns of a long run takes as long as drawing its page, and can be done meanwhile.
        written = [
            beside.submit(frame.to_parquet, temporary / f"{name}.parquet") for name, frame in frames.items()
        ]
        write_json(temporary / "metrics.json", finite(metrics))
        write_json(temporary / "provenance.json", provenance)
        write_tearsheet(report, temporary / "tearsheet.html", shared_js=shared_js)
        for each in written:
            each.result()
    return final


def finite(measures: Mapping[str, float]) -> dict[str, float | None]:
    """Return measures for JSON, which has no NaN and no infinity."""
    return {name: value if math.isfinite(value) else None for name, value in measures.items()}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys; ValueError for NaN and infinity."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
