"""The store as tables: versions by instrument, and a portfolio with the versions it means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from lockstep.market.validation import suggestion
from lockstep.models.errors import UnknownModel
from lockstep.models.manifest import Manifest, VersionEntry
from lockstep.models.portfolio_file import Portfolio

_METRICS_SHOWN = 3
_MISSING = "missing"


def chosen_instruments(manifest: Manifest, symbol: str | None) -> Manifest:
    """Return the manifest of one instrument, or of all; UnknownModel where there is none of it."""
    if symbol is None:
        return manifest
    if symbol not in manifest.instruments:
        near = suggestion(symbol, manifest.instruments)
        raise UnknownModel(f"instrument {symbol!r}: not in the manifest{near}")
    return manifest.model_copy(update={"instruments": {symbol: manifest.instruments[symbol]}})


def versions_table(manifest: Manifest) -> Table:
    """Return one row per version."""
    table = Table(show_edge=False)
    for column in ("symbol", "model", "version", "status", "trained on", "threshold", "metrics", "evidence"):
        table.add_column(column)
    table.add_column("used", justify="right")
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
        f"{entry.threshold:.3g}",
        ", ".join(f"{name} {value:.3g}" for name, value in known[:_METRICS_SHOWN]),
        ", ".join(f"{each.kind} {'passed' if each.passed else 'failed'}" for each in entry.evidence),
        str(entry.use.count),
    )


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


def portfolio_tables(content: dict[str, Any]) -> tuple[Table, Table]:
    """Return the instruments and the limits of `portfolio_content`."""
    instruments = Table(show_edge=False)
    for column in ("symbol", "version", "is now", "status", "largest weight"):
        instruments.add_column(column)
    for symbol, each in content["instruments"].items():
        now = each["resolved"] or "none"
        instruments.add_row(symbol, each["version"], now, each["status"], f"{each['weight_cap']:.0%}")
    limits = Table(show_edge=False)
    limits.add_column("limit")
    limits.add_column("value", justify="right")
    limits.add_row("cash, USD", f"{content['cash']:,.0f}")
    for section in ("correlation", "risk"):
        for name, value in content[section].items():
            limits.add_row(f"{section}: {name.replace('_', ' ')}", f"{value:g}")
    return instruments, limits
