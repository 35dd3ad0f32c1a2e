"""Labels on every bar: what the next `horizon` bars do, seen from the close of a bar.

    direction    1 where the close after `horizon` bars is higher than the bar's own, else 0
    return       by how much it is higher, in ATR of the 14 bars up to it
    volatility   log of the range of the next bars, highest high less lowest low, as a share of the close
    regime       1 where that share is above the median of all shares that had ended by the bar, else 0

A spec may learn from another `label` of its task; it is judged by the usual one, so that versions answer the
same question in the same unit and their losses can be compared:

    clear        of direction and regime: bars that are a close call are not learned from
    clipped      of return and volatility: what is further out than usual counts as the limit

NaN is the label of a bar whose next bars are not all there, and of one that has none: no range, no ATR.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lockstep.errors import TrainingError
from lockstep.market.bars import Bars, Floats
from lockstep.market.continuous import levels
from lockstep.models.tasks import PROBABILITY, STATE, VALUE, Output
from lockstep.settings import suggestion
from research.zoo.model_spec import Task

USUAL, CLEAR, CLIPPED = "", "clear", "clipped"
LABELS: Mapping[Task, tuple[str, ...]] = {
    "direction": (USUAL, CLEAR),
    "return": (USUAL, CLIPPED),
    "volatility": (USUAL, CLIPPED),
    "regime": (USUAL, CLEAR),
}
"""By task, the labels that a spec may learn from; the first is the one that it is judged by."""
OUTPUTS: Mapping[Task, Output] = {
    "direction": PROBABILITY,
    "return": VALUE,
    "volatility": VALUE,
    "regime": STATE,
}
TARGETS: Mapping[Task, str] = {
    "direction": "the close is higher",
    "return": "change of the close in ATR",
    "volatility": "log of the range as a share of the close",
    "regime": "the range is above its median so far",
}

_ATR = 14
_LEAST_RANGES = 250
# A move below a quarter of the ATR, a share of the close within a tenth of its median, is a close call.
_CLOSE_MOVE, _CLOSE_SHARE = 0.25, 0.1
# In ATR, and in log units about the log of the ATR's share.
_MOST_MOVE, _MOST_LOG = 3.0, 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class BarLabels:
    """Labels of n bars, float64 (n,) each; NaN where there is none.

    taught   what is learned from; judged: the usual label of the task
    """

    taught: Floats
    judged: Floats


def labels(bars: Bars, task: Task, horizon: int, label: str = USUAL) -> BarLabels:
    """Return the labels of a task over `horizon` bars; row i is what a model is to answer at bar i.

    No label looks further than `horizon` bars ahead. TrainingError where the task has no such label, or the
    bars are adjusted by differences and the label is a share of the price, which every roll would change.

    >>> from lockstep.market.loader import load_bars
    >>> found = labels(load_bars("COMP", start="2018-01-02"), "direction", 5)
    >>> int(np.isnan(found.judged).sum()), set(found.judged[:-5].tolist()) == {0.0, 1.0}
    (5, True)
    """
    if label not in LABELS[task]:
        known = ", ".join(repr(each) for each in LABELS[task])
        raise TrainingError(
            f"{bars.symbol} {task}: label {label!r}: must be one of {known}{suggestion(label, LABELS[task])}"
        )
    bars = levels(bars)
    if task in ("volatility", "regime") and bars.adjustment == "difference":
        raise TrainingError(
            f"{bars.symbol} {task}: its label is a share of the price, and these bars are adjusted by "
            "differences; ask for direction or return, or give bars adjusted by ratios"
        )
    judged = {"direction": _direction, "return": _return, "volatility": _volatility, "regime": _regime}[task]
    usual = judged(bars, horizon)
    return BarLabels(taught=_taught(bars, task, horizon, label, usual), judged=usual)


def _taught(bars: Bars, task: Task, horizon: int, label: str, usual: Floats) -> Floats:
    if label == USUAL:
        return usual
    if task == "direction":
        return np.where(np.abs(_return(bars, horizon)) < _CLOSE_MOVE, np.nan, usual)
    if task == "return":
        return np.clip(usual, -_MOST_MOVE, _MOST_MOVE)
    if task == "volatility":
        usually = np.log(_positive(average_true_range(bars) / bars.close))
        return np.clip(usual, usually - _MOST_LOG, usually + _MOST_LOG)
    share = _share(bars, horizon)
    return np.where(np.abs(share / _median_so_far(share, horizon) - 1.0) < _CLOSE_SHARE, np.nan, usual)


def average_true_range(bars: Bars, period: int = _ATR) -> Floats:
    """Return the mean true range of the `period` bars up to each bar, float64 (n,), NaN in the first ones."""
    before = bars.close[:-1]
    true = np.maximum(bars.high[1:], before) - np.minimum(bars.low[1:], before)
    found = np.full(len(bars.close), np.nan)
    if true.size >= period:
        found[period:] = sliding_window_view(true, period).mean(axis=1)
    return found


def _ahead(values: Floats, horizon: int) -> Floats:
    """Return, at row i, the value of row i + horizon; NaN where there is none."""
    found = np.full(len(values), np.nan)
    found[: max(0, len(values) - horizon)] = values[horizon:]
    return found


def _direction(bars: Bars, horizon: int) -> Floats:
    later = _ahead(bars.close, horizon)
    return np.where(np.isnan(later), np.nan, (later > bars.close).astype(np.float64))


def _return(bars: Bars, horizon: int) -> Floats:
    return (_ahead(bars.close, horizon) - bars.close) / _positive(average_true_range(bars))


def _share(bars: Bars, horizon: int) -> Floats:
    """Return the range of the bars after each one, as a share of its close; NaN where it is not above 0."""
    found = np.full(len(bars.close), np.nan)
    if len(bars.close) > horizon:
        highest = sliding_window_view(bars.high[1:], horizon).max(axis=1)
        lowest = sliding_window_view(bars.low[1:], horizon).min(axis=1)
        found[: highest.size] = (highest - lowest) / _positive(bars.close[: highest.size])
    return _positive(found)


def _volatility(bars: Bars, horizon: int) -> Floats:
    return np.log(_share(bars, horizon))


def _regime(bars: Bars, horizon: int) -> Floats:
    share = _share(bars, horizon)
    middle = _median_so_far(share, horizon)
    return np.where(np.isnan(share) | np.isnan(middle), np.nan, (share > middle).astype(np.float64))


def _median_so_far(share: Floats, horizon: int) -> Floats:
    """Return the median of all shares that had ended by each bar; NaN before there are 250."""
    found, known = np.full(len(share), np.nan), list[float]()
    for row in range(len(share)):
        ended = row - horizon
        if ended >= 0 and not np.isnan(share[ended]):
            bisect.insort(known, float(share[ended]))
        if (size := len(known)) >= _LEAST_RANGES:
            found[row] = (known[(size - 1) // 2] + known[size // 2]) / 2.0
    return found


def _positive(values: Floats) -> Floats:
    return np.where(values > 0.0, values, np.nan)
