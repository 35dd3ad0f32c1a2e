"""Clocks that are wrong: a file, or months of it, whose stamps are hours away from the market's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lockstep.market.bars import Bars, Floats, Stamps
from lockstep.market.quality.case import QualityCase
from lockstep.market.quality.finding import Finding, listed, runs
from lockstep.market.session_kernels import HOUR
from lockstep.market.sessions import Session

# A week is looked at where more than this share of its bars lies outside the session, and its clock is wrong
# where hardly any would lie there if it were set. Clocks change between two weeks.
_OUTSIDE, _SET_RIGHT = 0.02, 0.1
_HALF_HOUR = HOUR // 2
_LAGS = 24  # half hours, either way
_SAMPLE = 1_500  # bars of a week, evenly
# A market that never closes is known by the shape of its day: by how much that of a month must fit better.
_BETTER, _FITS = 0.3, 0.7
_MONTHS, _SESSIONS = 6, 10
_SHAPE_LAGS = 6  # half hours, either way


def shifted_clocks(case: QualityCase) -> list[Finding]:
    """Return weeks whose stamps are some half hours too early or too late; months, where no hour is shut."""
    template = case.session.template
    if template.close_minute - template.open_minute >= 24 * 60:
        bounds = _bounds(case, case.dates.astype("M8[M]").astype(np.int64))
        lags = _by_shape(case, bounds)
    else:
        bounds = _bounds(case, (case.dates.astype(np.int64) + 3) // 7)
        lags = _by_hours(case.bars, case.session, bounds)
    return [
        found
        for lag in np.unique(lags[lags != 0]).tolist()
        for found in _finding(case, bounds, np.flatnonzero(lags == lag), lag)
    ]


def _bounds(case: QualityCase, numbers: Stamps) -> Stamps:
    """Return where stretches of bars with equal numbers begin, and the end."""
    starts = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]]))
    return np.append(starts, len(case.bars))


def _by_hours(bars: Bars, session: Session, bounds: Stamps) -> Stamps:
    """Return by how many half hours the stamps of each stretch are late, from which are in session."""
    found, last = [], 0
    for first, stop in pairwise(bounds.tolist()):
        end = bars.end[first : stop : max((stop - first) // _SAMPLE, 1)]

        def outside(lag: int, end: Stamps = end) -> float:
            return float(1.0 - session.in_session(end - lag * _HALF_HOUR, bars.timeframe).mean())

        now = outside(0)
        if now <= _OUTSIDE:
            found.append(0)
            continue
        if last and outside(last) <= _SET_RIGHT * now:
            found.append(last)
            continue
        lags = sorted(range(-_LAGS, _LAGS + 1), key=abs)
        shares = [outside(lag) for lag in lags]
        best = int(np.argmin(shares))
        last = lags[best] if shares[best] <= _SET_RIGHT * now else 0
        found.append(last)
    return np.array(found, dtype=np.int64)


def _by_shape(case: QualityCase, bounds: Stamps) -> Stamps:
    """Return the same for a market without hours, from when in the day prices move most.

    The shape of a day is the mean range of each half hour. A month's is compared with the median of all.
    """
    count = bounds.size - 1
    if case.bars.timeframe.nanoseconds > _HALF_HOUR or count < _MONTHS:
        return np.zeros(count, dtype=np.int64)
    slots = (case.bars.end - case.rows.opens[case.index] - 1) // _HALF_HOUR
    size = 48
    inside = (slots >= 0) & (slots < size)
    relative = np.where(case.scale > 0, (case.bars.high - case.bars.low) / case.bars.close, 0.0)
    month = np.repeat(np.arange(count), np.diff(bounds))
    at = month[inside] * size + slots[inside]
    bars_at = np.bincount(at, minlength=count * size).reshape(count, size)
    ranges = np.bincount(at, weights=relative[inside], minlength=count * size).reshape(count, size)
    shapes: Floats = ranges / np.maximum(bars_at, 1)
    sessions = np.array([np.unique(case.index[a:b]).size for a, b in pairwise(bounds.tolist())])
    shapes = shapes / np.maximum(shapes.mean(axis=1, keepdims=True), 1e-300)
    norm = (
        np.median(shapes[sessions >= _SESSIONS], axis=0) if (sessions >= _SESSIONS).any() else np.zeros(size)
    )
    return np.array([
        _best_lag(shape, norm) if enough else 0
        for shape, enough in zip(shapes, sessions >= _SESSIONS, strict=True)
    ], dtype=np.int64)  # fmt: skip


def _best_lag(shape: Floats, norm: Floats) -> int:
    lags = sorted(range(-_SHAPE_LAGS, _SHAPE_LAGS + 1), key=abs)
    fits = [_correlation(np.roll(shape, -lag), norm) for lag in lags]
    best = int(np.argmax(fits))
    return lags[best] if fits[best] > _FITS and fits[best] - fits[0] > _BETTER else 0


def _correlation(one: Floats, other: Floats) -> float:
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / norm if norm > 0 else 0.0


def _finding(case: QualityCase, bounds: Stamps, stretches: Stamps, lag: int) -> list[Finding]:
    end, dates = case.bars.end, case.dates
    spans = [(int(bounds[first]), int(bounds[last + 1]) - 1) for first, last in runs(stretches)]
    named = listed([f"from {dates[first]} to {dates[last]}" for first, last in spans])
    minutes = abs(lag) * 30
    size = f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} minutes"
    sentence = (
        f"stamps are {size} {'late' if lag > 0 else 'early'} for the hours of {case.session.template.name}, "
        f"{named}: is the time zone of the source right, and does it change its clock?"
    )
    return [
        Finding(
            kind="shifted_clock",
            where=str(dates[spans[0][0]]),
            count=int(stretches.size),
            sentence=sentence,
            spans=tuple((int(end[max(first - 1, 0)]), int(end[last])) for first, last in spans),
        )
    ]
