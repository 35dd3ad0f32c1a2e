"""The store as tables: versions by instrument."""

from __future__ import annotations

from collections.abc import Iterator

from lockstep.errors import UnknownModel
from lockstep.models.evidence import REFERENCE
from lockstep.models.manifest import Evidence, Manifest, VersionEntry
from lockstep.models.tasks import described
from lockstep.settings import suggestion
from lockstep.tables import TextTable, number, prose

_METRICS_SHOWN = 3
NO_MODEL = "no model"


def chosen_instruments(manifest: Manifest, symbol: str | None) -> Manifest:
    """Return the manifest of one instrument, or of all; UnknownModel where there is none of it."""
    if symbol is None:
        return manifest
    if symbol not in manifest.instruments:
        near = suggestion(symbol, manifest.instruments)
        raise UnknownModel(f"instrument {symbol!r}: not in the manifest{near}")
    return manifest.model_copy(update={"instruments": {symbol: manifest.instruments[symbol]}})


def versions_table(manifest: Manifest) -> TextTable:
    """Return one row per version."""
    table = TextTable(
        "symbol", "model", "version", "task", "status", "trained on", number("threshold"), prose("metrics"),
        prose("evidence"), number("used"),
    )  # fmt: skip
    for symbol, name, version, entry in _versions(manifest):
        task = described(entry.task, entry.output, entry.horizon)
        table.add_row(symbol, name, version, task, entry.status, *_cells(entry))
    return table


def _versions(manifest: Manifest) -> Iterator[tuple[str, str, str, VersionEntry]]:
    for symbol, models in manifest.instruments.items():
        for name, model in models.items():
            for version, entry in model.versions.items():
                yield symbol, name, version, entry


def _cells(entry: VersionEntry) -> tuple[str, ...]:
    known = [(name, value) for name, value in entry.metrics.items() if value is not None]
    return (
        " to ".join(entry.training_range) if entry.training_range else "",
        _threshold(entry),
        ", ".join(f"{name} {_measure(value)}" for name, value in known[:_METRICS_SHOWN]),
        evidence_words(entry),
        f"{entry.use.count:,}",
    )


def _threshold(entry: VersionEntry) -> str:
    if entry.threshold is None:
        return "" if entry.of_zoo else NO_MODEL
    return f"{entry.threshold:.3g}"


def evidence_words(entry: VersionEntry) -> str:
    """Return what evidence a version has, oldest first: "reference frozen, validation passed"."""
    return ", ".join(f"{each.kind} {_verdict(each)}" for each in entry.evidence)


def _verdict(evidence: Evidence) -> str:
    if not evidence.passed:
        return "failed"
    # It is no verdict: what it lacks refuses nothing.
    return "frozen" if evidence.kind == REFERENCE else "passed"


def _measure(value: float) -> str:
    """Return three digits, or every digit before the point: a count of 1,234 is not 1.23e+03."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
