"""What a journal says that a strategy did, for the strategy log."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from certify.recording import models_of
from lockstep.live.journal import Journal
from lockstep.live.messages import LaneRecord, SetRecord
from lockstep.live.rerun import step_of
from lockstep.market.config import load_instruments
from lockstep.market.history import Market
from lockstep.metrics import summary
from lockstep.models.store import ModelStore
from lockstep.monitoring.parity import COMPLETED, EngineStep
from research.experiments.realised import Deed, of_run_folder
from research.paper.bands import closed_trades

SHOWN = ("sharpe", "cagr", "max_drawdown_fraction", "trades", "net_profit")

Rows = list[tuple[int, LaneRecord]]


def of_journal(path: Path) -> list[Deed]:
    """Return one deed per instrument and bundle of a journal; of a folder, what the run in it did.

    The bundles are those of the default model store: they say which configuration traded.
    """
    if not path.is_file():
        return of_run_folder(path)
    book = load_instruments()
    with Journal.open(path, readonly=True) as journal:
        models = models_of(journal, ModelStore())
        rows: dict[str, Rows] = {}
        for epoch in journal.epochs():
            for row in journal.entries(epoch.number):
                if isinstance(row, SetRecord):
                    for lane in row.lanes:
                        rows.setdefault(lane.bundle, []).append((row.release.stamp, lane))
    return [
        Deed(
            symbol=lanes[0][1].symbol,
            config_hash=models[sha].config.config_hash,
            first=str(np.datetime64(lanes[0][0], "ns"))[:10],
            last=str(np.datetime64(lanes[-1][0], "ns"))[:10],
            metrics=_measured(lanes, book.market(lanes[0][1].symbol), models[sha].config.capital),
        )
        for sha, lanes in rows.items()
    ]


def _measured(lanes: Rows, market: Market, capital: float) -> dict[str, float | None]:
    """Return what the log shows of an account, from its marks and fills, on the configured capital."""
    steps = [step_of(lane, stamp) for stamp, lane in lanes]
    marks = np.array([lane.mark for _, lane in lanes])
    ends = np.array([stamp for stamp, _ in lanes], dtype=np.int64)
    multiplier = market.instrument.multiplier
    trades = [profit for _, profit in closed_trades(steps, multiplier)]
    measured = summary(
        equity=np.ascontiguousarray(marks[:, 3]),
        session=market.session.dates(ends),
        trade_pnl=np.array(trades, dtype=np.float64),
        trade_bars_held=np.zeros(len(trades)),
        position=np.ascontiguousarray(marks[:, 1]),
        traded_notional=_notional(steps) * multiplier,
        capital=capital,
        sessions_per_year=market.session.template.sessions_per_year,
    )
    return {name: float(measured[name]) for name in SHOWN}


def _notional(steps: list[EngineStep]) -> float:
    filled = (order for step in steps for order in step.orders or () if order.status == COMPLETED)
    return float(sum(abs(order.quantity) * abs(order.price) for order in filled))
