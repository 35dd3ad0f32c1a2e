"""A backtest as steps of a parity comparison."""

from __future__ import annotations

import numpy as np

from lockstep.monitoring.parity import Step
from lockstep.strategy.records import OrderRecord
from research.backtest_result import BacktestResult


def steps_of(result: BacktestResult) -> list[Step]:
    """Return one step per traded bar; see `lockstep.monitoring.parity`."""
    records = result.records
    orders: dict[int, list[OrderRecord]] = {}
    for order in records.orders:
        orders.setdefault(order.stamp, []).append(order)
    columns = result.bars.columns().values()
    bars = zip(*(column.tolist() for column in columns), strict=True)
    rows = zip(
        records.stamps, bars, records.vectors, records.probabilities, records.codes, records.reasons,
        records.marks, strict=True,
    )  # fmt: skip
    return [
        Step(
            symbol=result.symbol,
            stamp=stamp,
            bar=bar,
            vector=np.ascontiguousarray(vector, dtype="<f8").tobytes(),
            probability=probability,
            code=code,
            reason=reason,
            orders=tuple(orders.get(stamp, ())),
            mark=mark[1:],
        )
        for stamp, bar, vector, probability, code, reason, mark in rows
    ]
