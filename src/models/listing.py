"""The store as tables: versions by instrument, and a portfolio with the versions it means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lockstep.errors import UnknownModel
from lockstep.models.manifest import Manifest, VersionEntry
from lockstep.models.portfolio_file import Portfolio
from lockstep.settings import suggestion
from lockstep.tables import TextTable, number, prose

_METRICS_SHOWN = 3
_MISSING = "missing"
NO_MODEL = "no model"
NOT_ENFORCED = "Nothing enforces these limits yet: the live engine follows those of its own live.yml."


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
        "symbol", "model", "version", "status", "trained on", number("threshold"), prose("metrics"),
        prose("evidence"), number("used"),
    )  # fmt: skip
    for symbol, name, version, entry in _versions(manifest):
        table.add_row(symbol, name, version, entry.status, *_cells(entry))
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
        NO_MODEL if entry.threshold is None else f"{entry.threshold:.3g}",
        ", ".join(f"{name} {_measure(value)}" for name, value in known[:_METRICS_SHOWN]),
        ", ".join(f"{each.kind} {'passed' if each.passed else 'failed'}" for each in entry.evidence),
        f"{entry.use.count:,}",
    )


def _measure(value: float) -> str:
    """Return three digits, or every digit before the point: a count of 1,234 is not 1.23e+03."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def portfolio_content(portfolio: Portfolio, manifest: Manifest) -> dict[str, Any]:
    """Return the portfolio for JSON; each instrument with the version that is meant now, and its status."""
    content = portfolio.model_dump(mode="json")
    for symbol, position in content["instruments"].items():
        position["resolved"], position["status"] = _resolved(manifest, symbol, position["version"])
    return content


def _resolved(manifest: Manifest, symbol: str, version: str) -> tuple[str | None, str]:
    try:
        return manifest.resolve(symbol, version), manifest.entry(symbol, version).status
    except UnknownModel:
        return None, _MISSING


def portfolio_tables(content: dict[str, Any]) -> tuple[TextTable, TextTable]:
    """Return the instruments and the limits of `portfolio_content`."""
    instruments = TextTable("symbol", "version", "is now", "status", number("largest weight"))
    for symbol, each in content["instruments"].items():
        now = each["resolved"] or "none"
        instruments.add_row(symbol, each["version"], now, each["status"], f"{each['weight_cap']:.0%}")
    limits = TextTable("limit", number("value"))
    limits.add_row("cash, USD", f"{content['cash']:,.0f}")
    for section in ("correlation", "risk"):
        for name, value in content[section].items():
            limits.add_row(f"{section}: {name.replace('_', ' ')}", f"{value:,.15g}")
    return instruments, limits
