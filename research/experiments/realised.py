"""What a promoted strategy did afterwards, written into the strategy log."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from lockstep.errors import ExperimentError
from research.experiments.execution import Lab
from research.experiments.strategy_log import fill_in_actual
from research.ledger.tables import Genealogy

_NEEDED = ("metrics.json", "provenance.json")


@dataclass(frozen=True, kw_only=True)
class Deed:
    """What a configuration did on one instrument from `first` to `last` (ISO days).

    metrics   by the names of `lockstep.metrics.Performance`; None where undefined
    """

    symbol: str
    config_hash: str
    first: str
    last: str
    metrics: Mapping[str, float | None]

    def __str__(self) -> str:
        return (
            f"{self.symbol} from {self.first} to {self.last}: Sharpe {self._text('sharpe', '.2f')}, CAGR "
            f"{self._text('cagr', '.1%')}, drawdown {self._text('max_drawdown_fraction', '.1%')}, "
            f"{self._text('trades', ',.0f')} trades, P&L {self._text('net_profit', ',.0f')} USD"
        )

    def _text(self, name: str, form: str) -> str:
        value = self.metrics.get(name)
        return "undefined" if value is None or math.isnan(value) else format(value, form)


Read = Callable[[Path], Sequence[Deed]]


def record_actual(lab: Lab, name: str, journal: Path, log: Path, read: Read | None = None) -> str:
    """Write what a promoted strategy did into the log as its actual impact, and return it.

    read   makes deeds of `journal`; by default it is a run folder of the backtest runner

    ExperimentError where the strategy was never promoted, where `journal` cannot be read, or where nothing in
    it was done with the promoted configuration.
    """
    promoted = _promoted_hash(lab, name)
    deeds = (read or of_run_folder)(journal)
    mine = [deed for deed in deeds if deed.config_hash == promoted]
    if not mine:
        found = ", ".join(sorted({deed.config_hash[:10] for deed in deeds})) or "nothing"
        raise ExperimentError(
            f"{journal}: was run with config {found}, {name} is {promoted[:10]}; give a run of the promoted "
            "strategy"
        )
    measured = "; ".join(map(str, mine))
    fill_in_actual(log, name, lab.now().date(), measured)
    return measured


def of_run_folder(folder: Path) -> list[Deed]:
    """Return what a run folder of the backtest runner says; ExperimentError where it is none."""
    metrics, provenance = _run_folder(folder)
    return [
        Deed(
            symbol=str(provenance.get("symbol")),
            config_hash=str(provenance.get("config_hash")),
            first=str(provenance.get("first_bar"))[:10],
            last=str(provenance.get("last_bar"))[:10],
            metrics=metrics,
        )
    ]


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
            f"--journal {journal}: {kind}; give a journal of the live engine, or a folder that the backtest "
            f"runner left, with {' and '.join(_NEEDED)}"
        )
    try:
        metrics, provenance = (json.loads((journal / each).read_text(encoding="utf-8")) for each in _NEEDED)
    except ValueError as error:
        raise ExperimentError(
            f"--journal {journal}: a file in it is not valid JSON: {error}; run it again"
        ) from error
    return metrics, provenance
