"""Prices off the tick grid: another tick size, another unit, averages, undeclared adjustments."""

from __future__ import annotations

import numpy as np

from lockstep.market.bars import PRICE_COLUMNS
from lockstep.market.quality.case import QualityCase
from lockstep.market.quality.finding import Finding, counted, listed

# How far from a multiple of the tick a price may be, in ticks: decimals that are no binary fractions.
_ROUNDING = 1e-3
# What more than this share of the bars does is a trait of the file; what hardly any does, an average or two.
_MOST, _FEW = 0.5, 0.01


def off_grid(case: QualityCase) -> list[Finding]:
    """Return bars with a price that the instrument's tick does not divide.

    Not for an index, which is not traded, nor for prices that are adjusted by a ratio.
    """
    instrument, bars = case.instrument, case.bars
    if instrument is None or instrument.proxy_of is not None or bars.adjustment == "ratio":
        return []
    tick = instrument.tick_size
    off = np.zeros(len(bars), dtype=np.bool_)
    for name in PRICE_COLUMNS:
        ticks = getattr(bars, name) / tick
        off |= np.abs(ticks - np.rint(ticks)) > _ROUNDING
    rows = np.flatnonzero(off)
    if not rows.size:
        return []
    example = [
        f"{name} ({', '.join(f'{getattr(bars, each)[row]:.10g}' for each in PRICE_COLUMNS)})"
        for name, row in zip(case.names(rows[:3]), rows[:3], strict=True)
    ]
    count = counted(rows.size, "bar")
    said = f"{count} with a price off the tick grid of {tick:g}: {listed(example, rows.size)}"
    if rows.size > _MOST * len(bars):
        sentence = f"{said}; is the tick size of {instrument.symbol} another one, or are prices adjusted?"
        return [Finding(kind="off_grid", where="all", count=int(rows.size), sentence=sentence)]
    return [
        Finding(
            kind="off_grid",
            where=str(case.dates[rows[0]]),
            count=int(rows.size),
            sentence=said,
            severity="note" if rows.size <= _FEW * len(bars) else "warning",
            spans=case.spans(rows),
        )
    ]
