"""Bars beside others of the same minute of the day: what is usual at the open is a fault at night.

The yardstick of a bar is what bars at its minute do, as a share of what their sessions do: the market may be
calm or wild, and a minute busy or quiet.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lockstep.market.bars import Floats, Stamps
from lockstep.market.quality.case import QualityCase
from lockstep.market.quality.finding import Finding, counted, listed
from lockstep.market.quality.prices import SPIKE_RANGES, depths, named_bars, reverts

# A print that reverts, in median ranges of its minute; a change that stays, in robust deviations of it.
PRINT_RANGES = 25.0
OUTLIER_SIGMAS = 60.0
# Volume in medians of the minute: a bar with more of it was traded by many.
NEWS_VOLUME = 10.0
_TO_SIGMA = 1.4826  # from the median absolute deviation to the standard deviation of a normal distribution
# A minute in which hardly anybody trades has no yardstick of its own: it has this share of the usual one's.
_LEAST = 0.25
_ENOUGH = 20  # sessions


def odd_minutes(case: QualityCase) -> list[Finding]:
    """Return prints that revert, and changes that stay, which are beyond all that their minute does."""
    if case.starts.size < _ENOUGH or not (case.scale > 0).any():
        return []
    minutes, scale = _Minutes.of(case), case.scale
    measure = np.where(scale > 0, scale, np.nan)
    changes = case.changes.copy()
    # What happens while the market is closed is no minute's: `odd_prices` looks at it.
    changes[case.starts] = 0.0
    sizes, deep = np.abs(changes), depths(case)
    ranges = minutes.usual(_range(case) / measure) * scale
    sigmas = _TO_SIGMA * minutes.usual(sizes / measure) * scale
    far = (sizes > OUTLIER_SIGMAS * sigmas) & (sigmas > 0)
    reverting = far & reverts(changes)
    back = np.concatenate([[False], reverting[:-1]])
    # What is impossible in any minute is said by `odd_prices` already.
    possible = np.maximum(deep, np.where(reverting, sizes, 0.0)) <= SPIKE_RANGES * scale
    prints = (((deep > PRINT_RANGES * ranges) & (ranges > 0)) | reverting) & possible
    outliers = far & ~reverting & ~back & (sizes <= SPIKE_RANGES * scale)
    if not (prints.any() or outliers.any()):
        return []
    # Many traded it: news, not a print.
    news = case.bars.volume > NEWS_VOLUME * minutes.usual(case.bars.volume)
    return [
        *_prints(case, np.flatnonzero(prints & ~news)),
        *_outliers(case, np.flatnonzero(outliers | (prints & news))),
    ]


@dataclass(frozen=True)
class _Minutes:
    """Bars by their minute of the day.

    slots    of each bar, int16 (n,), 0 for those before the open, which are in no group
    order    rows of the others, minute by minute; bounds: where each minute begins in it
    """

    slots: NDArray[np.int16]
    order: Stamps
    bounds: Stamps

    @classmethod
    def of(cls, case: QualityCase) -> Self:
        """Sort the bars of a series."""
        inside = np.flatnonzero(case.slots >= 0)
        slots = np.maximum(case.slots, 0).astype(np.int16)
        order = inside[np.argsort(slots[inside], kind="stable")]
        return cls(slots, order, np.searchsorted(slots[order], np.arange(int(slots.max()) + 2)))

    def usual(self, values: Floats) -> Floats:
        """Return the median of values at the minute of each bar, no less than a share of that of all (n,).

        values   (n,), at least 0; NaN are left out. A minute with fewer than twenty has the share of all
        """
        ordered = values[self.order]
        moving = ordered[ordered > 0]
        least = _LEAST * float(np.median(moving)) if moving.size else 0.0
        found = np.full(self.bounds.size - 1, least)
        for minute, (first, stop) in enumerate(pairwise(self.bounds.tolist())):
            known = ordered[first:stop]
            known = known[~np.isnan(known)]
            if known.size >= _ENOUGH:
                found[minute] = max(float(np.median(known)), least)
        return np.asarray(found[self.slots])


def _range(case: QualityCase) -> Floats:
    """Return the range of each bar, in points or logarithms; NaN for a low of zero."""
    bars = case.bars
    if not case.in_logs:
        return np.asarray(bars.high - bars.low)
    positive = bars.low > 0
    return np.where(positive, np.log(bars.high) - np.log(np.where(positive, bars.low, 1.0)), np.nan)


def _prints(case: QualityCase, rows: Stamps) -> list[Finding]:
    if not rows.size:
        return []
    sentence = (
        f"{counted(rows.size, 'bar')} with a price far beyond what that minute of the day does, and back: "
        f"{listed(named_bars(case, rows[:6]), rows.size)}"
    )
    where = str(case.dates[rows[0]])
    return [
        Finding(kind="print", where=where, count=int(rows.size), sentence=sentence, spans=case.spans(rows))
    ]


def _outliers(case: QualityCase, rows: Stamps) -> list[Finding]:
    if not rows.size:
        return []
    close = case.bars.close
    named = [
        f"{name} ({close[row - 1]:g} to {close[row]:g})"
        for name, row in zip(case.names(rows[:6]), rows[:6], strict=True)
    ]
    sentence = (
        f"{counted(rows.size, 'bar')} whose prices move beyond {OUTLIER_SIGMAS:g} robust deviations of that "
        f"minute of the day, to stay or traded by many, as news does: {listed(named, rows.size)}"
    )
    return [
        Finding(kind="outlier", where=str(case.dates[rows[0]]), count=int(rows.size), sentence=sentence,
                severity="note", spans=case.spans(rows))
    ]  # fmt: skip
