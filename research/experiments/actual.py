"""What a promoted strategy did afterwards, written into the strategy log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy import select

from research.experiments.errors import ExperimentError
from research.experiments.execution import Lab
from research.experiments.models import Genealogy
from research.experiments.strategy_log import fill_in_actual

_NEEDED = ("metrics.json", "provenance.json")


def record_actual(lab: Lab, name: str, journal: Path, log: Path) -> str:
    """Write the measures of a run folder as the actual impact of a promoted strategy, and return them.

    ExperimentError where the strategy was never promoted, where `journal` is no run folder, or where the run
    was made with another configuration.
    """
    promoted = _promoted_hash(lab, name)
    metrics, provenance = _run_folder(journal)
    if provenance.get("config_hash") != promoted:
        raise ExperimentError(
            f"{journal}: was run with config {str(provenance.get('config_hash'))[:10]}, {name} is "
            f"{promoted[:10]}; give a run of the promoted strategy"
        )
    measured = (
        f"{provenance.get('symbol')} from {str(provenance.get('first_bar'))[:10]} to "
        f"{str(provenance.get('last_bar'))[:10]}: Sharpe {_text(metrics, 'sharpe', '.2f')}, CAGR "
        f"{_text(metrics, 'cagr', '.1%')}, drawdown {_text(metrics, 'max_drawdown_fraction', '.1%')}, "
        f"{_text(metrics, 'trades', ',.0f')} trades, P&L {_text(metrics, 'net_profit', ',.0f')} USD"
    )
    fill_in_actual(log, name, lab.now().date(), measured)
    return measured


def _promoted_hash(lab: Lab, name: str) -> str:
    query = select(Genealogy.config_hash).where(Genealogy.strategy == name).order_by(Genealogy.id.desc())
    with lab.database.read() as connection:
        found: str | None = connection.scalar(query.limit(1))
    if found is None:
        raise ExperimentError(f"{name}: was never promoted from this database; `promote` it first")
    return found


def _run_folder(journal: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    missing = [each for each in _NEEDED if not (journal / each).is_file()]
    if missing:
        kind = "is no run folder" if journal.exists() else "is not there"
        raise ExperimentError(
            f"--journal {journal}: {kind}; give a folder that the backtest runner left, with "
            f"{' and '.join(_NEEDED)}"
        )
    try:
        metrics, provenance = (json.loads((journal / each).read_text(encoding="utf-8")) for each in _NEEDED)
    except ValueError as error:
        raise ExperimentError(
            f"--journal {journal}: a file in it is no JSON: {error}; run it again"
        ) from error
    return metrics, provenance


def _text(metrics: dict[str, Any], name: str, form: str) -> str:
    value = metrics.get(name)
    return "undefined" if value is None else format(value, form)
