"""Prices beside their neighbours: spikes that revert, jumps that stay, and changes of the unit.

All are measured in the true range that sessions around them have: a yardstick that grows and shrinks with
the market, and that one wild day does not move.
"""

from __future__ import annotations

import functools

import numpy as np

from lockstep.market.bars import Flags, Floats, Stamps
from lockstep.market.quality.case import QualityCase
from lockstep.market.quality.finding import Finding, counted, listed

# In median true ranges of the sessions around. The largest real ones of the series that this was set with:
# 5.7 for a close (gold, 15 April 2013), 6.2 for a low (E-mini S&P, the night of 9 November 2016).
JUMP_RANGES = 8.0
SPIKE_RANGES = 8.0
_REVERTS = 0.8
_LONGEST_WEEKEND = 6  # days
# Ratios of splits, and how near one must be.
_SPLITS = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50)
_NEAR = 0.06
# How near a power of ten must be, as a difference of exponents: a sixth of the price.
_NEAR_POWER = 0.07


def odd_prices(case: QualityCase) -> list[Finding]:
    """Return spikes, jumps and changes of the scale."""
    if len(case.bars) < 3:
        return []
    scale, change = case.scale, case.changes
    size = np.abs(change)
    beyond = (size > JUMP_RANGES * scale) & (scale > 0)
    reverting = beyond & reverts(change)
    returns = np.concatenate([[False], reverting[:-1]])
    spikes = reverting | ((depths(case) > SPIKE_RANGES * scale) & (scale > 0))
    jumps = np.flatnonzero(beyond & ~reverting & ~returns)
    scaled = _factors(case, jumps)
    return [
        *_spikes(case, np.flatnonzero(spikes)), *_jumps(case, jumps[scaled == 0]),
        *_scales(case, jumps[scaled != 0], scaled[scaled != 0]),
    ]  # fmt: skip


def reverts(change: Floats) -> Flags:
    """Return which changes the next bar takes back, but for a fifth, bool (n,)."""
    return np.append(-change[1:], 0.0) * np.sign(change) >= _REVERTS * np.abs(change)


def depths(case: QualityCase) -> Floats:
    """Return how far the low or high of bars lies beyond their own body and the bars beside them (n,)."""
    bars = case.bars
    last = np.concatenate([bars.open[:1], bars.close[:-1]])
    following = np.append(bars.open[1:], bars.close[-1:])
    beside = (bars.open, bars.close, last, following)
    floor, ceiling = functools.reduce(np.minimum, beside), functools.reduce(np.maximum, beside)
    if not case.in_logs:
        return np.asarray(np.maximum(floor - bars.low, bars.high - ceiling))
    positive = bars.low > 0
    down = np.where(positive, np.log(floor) - np.log(np.where(positive, bars.low, 1.0)), np.inf)
    return np.asarray(np.maximum(down, np.log(bars.high) - np.log(ceiling)))


def _factors(case: QualityCase, rows: Stamps) -> Floats:
    """Return by which power of ten prices are multiplied at jumps, 0 where they are by none (k,).

    Ten itself is a reverse split where shares are traded.
    """
    if not case.in_logs or not rows.size:
        return np.zeros(rows.size)
    exponents = case.changes[rows] / np.log(10.0)
    whole = np.round(exponents)
    least = 1 if _is_futures(case) else 2
    near = (np.abs(exponents - whole) < _NEAR_POWER) & (np.abs(whole) >= least)
    return np.where(near, whole, 0.0)


def _is_futures(case: QualityCase) -> bool:
    return case.session.template.calendar == "CMES"


def _spikes(case: QualityCase, rows: Stamps) -> list[Finding]:
    if not rows.size:
        return []
    sentence = (
        f"{counted(rows.size, 'bar')} with a price that is impossible beside its neighbours: "
        f"{listed(named_bars(case, rows[:6]), rows.size)}"
    )
    where = str(case.dates[rows[0]])
    return [
        Finding(kind="spike", where=where, count=int(rows.size), sentence=sentence, spans=case.spans(rows))
    ]


def named_bars(case: QualityCase, rows: Stamps) -> list[str]:
    """Return bars by date or time, with low, high and close."""
    bars = case.bars
    return [
        f"{name} (low {bars.low[row]:g}, high {bars.high[row]:g}, close {bars.close[row]:g})"
        for name, row in zip(case.names(rows), rows, strict=True)
    ]


def _jumps(case: QualityCase, rows: Stamps) -> list[Finding]:
    if not rows.size:
        return []
    named = [_jump(case, int(row)) for row in rows[:6]]
    yardstick = f"beyond {JUMP_RANGES:g} daily ranges of that time"
    sentence = f"{counted(rows.size, 'jump')} of the close {yardstick}: {listed(named, rows.size)}"
    where = str(case.dates[rows[0]])
    return [
        Finding(kind="jump", where=where, count=int(rows.size), sentence=sentence, spans=case.spans(rows))
    ]


def _jump(case: QualityCase, row: int) -> str:
    bars = case.bars
    before, after = bars.close[row - 1], bars.close[row]
    share = f", {after / before - 1:+.1%}" if before > 0 and bars.adjustment != "difference" else ""
    return f"{case.dates[row]} ({before:g} to {after:g}{share}: {_cause(case, row)})"


def _scales(case: QualityCase, rows: Stamps, exponents: Floats) -> list[Finding]:
    """Return changes of the unit of prices: from dollars to cents, from shares to lots of a hundred."""
    if not rows.size:
        return []
    close = case.bars.close
    named = [
        f"{case.dates[row]} ({close[row - 1]:g} to {close[row]:g}: {_power(int(exponent))})"
        for row, exponent in zip(rows, exponents, strict=True)
    ]
    sentence = f"{counted(rows.size, 'change')} of the unit of prices: {listed(named)}; declare `scale`"
    where = str(case.dates[rows[0]])
    return [
        Finding(kind="scale", where=where, count=int(rows.size), sentence=sentence, spans=case.spans(rows))
    ]


def _power(exponent: int) -> str:
    return f"times {10**exponent:,}" if exponent > 0 else f"divided by {10**-exponent:,}"


def _cause(case: QualityCase, row: int) -> str:
    """Return what a jump looks like: a split, a roll, a dividend, or nothing that can be told."""
    bars, dates = case.bars, case.dates
    before, opened = float(bars.close[row - 1]), float(bars.open[row])
    apart = int((dates[row] - dates[row - 1]).astype(np.int64))
    if apart > _LONGEST_WEEKEND:
        return f"over {apart} days without bars"
    futures = _is_futures(case)
    if dates[row] == dates[row - 1] and not bars.timeframe.is_session:
        return "unexplained, within a session"
    if not futures and before > 0 and opened > 0:
        ratio = max(before / opened, opened / before)
        near = min(_SPLITS, key=lambda each: abs(ratio / each - 1))
        if abs(ratio / near - 1) < _NEAR:
            return f"looks like a {'split' if opened < before else 'reverse split'} of {near:g}"
        if bars.adjustment == "none" and 0.5 < opened / before < 1:
            return "unexplained; a special dividend would look like it"
    if futures and bars.adjustment == "none":
        return "at an open: a roll, or unexplained"
    return "unexplained"
