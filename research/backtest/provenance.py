"""Provenance: hashes of everything a result depends on. No time, host, user or path is in it."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import lockstep
from lockstep.identity import TRIALS, code_hash, json_digest, library_versions
from lockstep.market.bars import Bars
from lockstep.market.history import SeriesKey
from lockstep.market.instrument import Instrument
from lockstep.market.quality.finding import Finding
from lockstep.market.reading.files import Loaded
from lockstep.market.ticks import Ticks
from lockstep.strategy.config import StrategyConfig

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class ReadFile:
    """A file that a run was fed from: its name, the rows in it, those rejected, and findings about it."""

    name: str
    rows: int
    rejected: int = 0
    findings: tuple[str, ...] = ()

    @classmethod
    def of(cls, loaded: Loaded[Bars] | Loaded[Ticks], found: Iterable[Finding] = ()) -> ReadFile:
        """Return the record of a loaded file, with the warnings among what was `found` in its bars."""
        warnings = tuple(f"{each.sentence}." for each in found if each.severity == "warning")
        return cls(
            name=Path(loaded.data.source).name,
            rows=loaded.rows,
            rejected=len(loaded.rejected),
            findings=loaded.findings + warnings,
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a reader of the result must know about the file."""
        counts = (
            f"{self.name}: {self.rejected:,} of {self.rows:,} rows were rejected; the result is without them."
        )
        about = tuple(f"{self.name}: {finding}" for finding in self.findings)
        return ((counts,) if self.rejected else ()) + about


def with_quality(
    content: Mapping[str, Any], findings: Iterable[Finding], files: Iterable[ReadFile]
) -> dict[str, Any]:
    """Return a provenance with what was found in the traded bars and in the files that were read.

    `run_hash` stays what it was: the findings follow from the bars that are in it.
    """
    found = [
        {"kind": each.kind, "severity": each.severity, "where": each.where, "count": each.count,
         "sentence": each.sentence}
        for each in findings
    ]  # fmt: skip
    return {**content, "findings": found, "files": [asdict(each) for each in files]}


_LIBRARIES = ("backtrader", "exchange-calendars", "numba", "numpy", "pandas", "pyarrow", "pydantic")


def provenance(
    *,
    config: StrategyConfig,
    instrument: Instrument,
    inputs: Mapping[SeriesKey, Bars],
    fingerprints: Mapping[str, str],
    traded: Bars,
    seed: int,
    model: Mapping[str, Any] | None = None,
    portfolio: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what the result of a run depends on, ready for JSON.

    model       names the bundle whose veto was asked; None: there was none
    portfolio   hashes of the portfolio that it traded in; None: it traded alone

    `run_hash` is the SHA-256 of all the rest: equal hashes mean equal results.
    """
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "symbol": instrument.symbol,
        "timeframe": config.timeframe,
        "first_bar": _iso(int(traded.end[0])),
        "last_bar": _iso(int(traded.end[-1])),
        "bars": len(traded),
        "config": config.model_dump(mode="json"),
        "config_hash": config.config_hash,
        "instrument": instrument.model_dump(mode="json"),
        "data_hashes": {str(key): bars.content_hash for key, bars in sorted(inputs.items())},
        "adjustments": {str(key): bars.adjustment for key, bars in sorted(inputs.items())},
        "feature_fingerprints": dict(fingerprints),
        "code_hash": code_hash(TRIALS),
        "seed": seed,
        "versions": {
            "lockstep": lockstep.__version__,
            "python": platform.python_version(),
            **library_versions(_LIBRARIES),
        },
    }
    if model is not None:
        content["model"] = dict(model)
    if portfolio is not None:
        content["portfolio"] = dict(portfolio)
    content["run_hash"] = json_digest(content)
    return content


def by_engine(content: Mapping[str, Any], engine: str) -> dict[str, Any]:
    """Return a provenance that also says which engine ran.

    `run_hash` stays what it was: the result does not depend on the engine, and all else that a run leaves
    does not say which one it was.
    """
    return {**content, "engine": engine}


def _iso(end: int) -> str:
    return f"{np.datetime_as_string(np.datetime64(end, 'ns'), unit='s')}Z"
