"""Equity curves: sessions, returns, growth and drawdowns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lockstep.errors import DataError
from lockstep.metrics.arrays import OPERATIONS, Dates, Floats, Integers, ratio, usable


@dataclass(frozen=True, kw_only=True)
class Drawdown:
    """One decline of a curve below its running maximum, by positions in the curve.

    peak       the last position at the maximum before the decline
    trough     the first position at the lowest point
    recovery   the first later position at or above the peak, or None while the curve is still below it
    depth      USD, >= 0: equity at the peak - equity at the trough
    fraction   depth / equity at the peak
    length     periods, >= 0: from the peak to the recovery, or to the end of the curve

    >>> import numpy as np
    >>> from lockstep.metrics import max_drawdown
    >>> deepest = max_drawdown(np.array([100.0, 120.0, 90.0, 110.0, 125.0]))
    >>> deepest.depth, deepest.fraction, deepest.length
    (30.0, 0.25, 3)
    """

    peak: int
    trough: int
    recovery: int | None
    depth: float
    fraction: float
    length: int


def curve_from(capital: float, equity: Floats) -> Floats:
    """Return the curve (n + 1,): `capital`, then `equity` (n,)."""
    return np.concatenate((np.array([capital], dtype=np.float64), equity))


def session_ordinals(session: Integers | Dates) -> Integers:
    """Return the 0-based number of each bar's session, int64 (n,).

    `session` (n,) are session dates, or int64 ids, that never fall; DataError where they do.
    """
    is_date = session.dtype.kind == "M"
    step = np.diff(session.astype("datetime64[D]").astype(np.int64) if is_date else session)
    if step.size and step.min() < 0:
        bar = int((step < 0).argmax()) + 1
        raise DataError(f"bar {bar}: session {session[bar]}: ids must not fall; sort the bars by time")
    return np.concatenate((np.zeros(min(session.size, 1), np.int64), np.cumsum(step > 0, dtype=np.int64)))


def session_equity(equity: Floats, session: Integers | Dates) -> Floats:
    """Return the equity after the last bar of each session, float64 (sessions,).

    `equity` float64 (n,) per bar, `session` as in `session_ordinals`. Measures of return use
    this: bars within a session are correlated, and their number differs between timeframes.
    """
    ordinals = session_ordinals(session)
    if ordinals.size != equity.size:
        raise DataError(f"{equity.size} equity values, {ordinals.size} session ids: need one id per bar")
    is_last = np.diff(ordinals, append=ordinals[-1:] + 1) > 0
    return equity[is_last]


def period_returns(curve: Floats, capital: float | Floats) -> Floats:
    """Return each period's change of equity / `capital`, float64 (n,); they sum to total_return.

    `capital` float64 (n,), such as `curve[:-1]`, gives the returns of an account that compounds.
    """
    return np.diff(curve) / capital


def resolution(curve: Floats, capital: float) -> float:
    """Return what rounding can leave in a return of `period_returns(curve, capital)`.

    Returns are differences of equity, and small ones keep the last bits of large equity.
    """
    return OPERATIONS * float(np.abs(curve).max(initial=capital)) / capital


def cagr(curve: Floats, periods_per_year: float, *, years: float | None = None) -> float:
    """Yearly growth that takes the first equity to the last: (last / first) ** (1 / years) - 1.

    `years` are those of the calendar, see `years.calendar_years`; None: (points - 1) / periods_per_year. -1
    when the capital is lost or more; nan for fewer than 2 points, or where a year's growth is more than a
    float can hold (a run of a session or two).
    """
    if not usable(curve, 2) or curve[0] <= 0:
        return math.nan
    growth = max(float(curve[-1] / curve[0]), 0.0)
    covered = (curve.size - 1) / periods_per_year if years is None else years
    try:
        return float(growth ** (1.0 / covered)) - 1.0
    except OverflowError:
        return math.nan


def drawdowns(curve: Floats) -> Floats:
    """Return running maximum - equity at every point, USD >= 0, the shape of `curve`."""
    return np.maximum.accumulate(curve) - curve


def drawdown_fractions(curve: Floats) -> Floats:
    """Return drawdown / running maximum at every point, >= 0; above 1 where more than everything is lost."""
    return drawdowns(curve) / np.maximum.accumulate(curve)


def max_drawdown(curve: Floats) -> Drawdown | None:
    """Return the decline that is deepest in USD, the first of equals; None if the curve never falls.

    None too for an empty curve; DataError where a value is not finite.
    """
    _require_finite(curve)
    under = drawdowns(curve)
    if not under.size or under.max() == 0:
        return None
    return _drawdown_at(curve, int(under.argmax()))


def _require_finite(curve: Floats) -> None:
    if not np.isfinite(curve).all():
        raise DataError("equity curve: not a finite number: a drawdown needs finite equity; mark every bar")


def _drawdown_at(curve: Floats, trough: int) -> Drawdown:
    """The decline whose lowest point is at `trough`."""
    top = float(curve[: trough + 1].max())
    peak = trough - int(curve[trough::-1].argmax())
    after = np.flatnonzero(curve[trough:] >= top)
    recovery = trough + int(after[0]) if after.size else None
    end = curve.size - 1 if recovery is None else recovery
    depth = float(top - curve[trough])
    return Drawdown(
        peak=peak,
        trough=trough,
        recovery=recovery,
        depth=depth,
        fraction=ratio(depth, top),
        length=end - peak,
    )


def deepest_drawdowns(curve: Floats, count: int = 10, *, by_fraction: bool = False) -> list[Drawdown]:
    """Return up to `count` declines, the deepest first: each from a high to the first return to it.

    The episodes do not overlap: what falls again before the high is seen again belongs to the same one. Depth
    is in USD, or by `by_fraction` relative to the high. Declines that are rounding are left out. DataError
    where a value is not finite.
    """
    _require_finite(curve)
    under = drawdown_fractions(curve) if by_fraction else drawdowns(curve)
    least = OPERATIONS * (1.0 if by_fraction else float(np.abs(curve).max(initial=0.0)))
    edges = np.flatnonzero(np.diff(np.concatenate(([False], under > 0, [False])).astype(np.int8)))
    troughs = [start + int(under[start:stop].argmax()) for start, stop in edges.reshape(-1, 2)]
    ordered = sorted((each for each in troughs if under[each] > least), key=lambda each: (-under[each], each))
    return [_drawdown_at(curve, trough) for trough in ordered[:count]]


def ulcer_index(curve: Floats) -> float:
    """Root of the mean square of the drawdown fraction over the periods of `curve`, >= 0.

    The start of the curve, which has no drawdown, is no period. Martin and McCann (1989), The Investor's
    Guide to Fidelity Funds.
    """
    if not usable(curve, 2) or curve[0] <= 0:
        return math.nan
    return math.sqrt(float(np.mean(drawdown_fractions(curve)[1:] ** 2)))


def recovery_factor(curve: Floats) -> float:
    """(Last equity - first) / deepest drawdown in USD; nan where the curve never falls."""
    if not usable(curve, 2):
        return math.nan
    return ratio(
        float(curve[-1] - curve[0]), float(drawdowns(curve).max()), OPERATIONS * float(np.abs(curve).max())
    )


def longest_drawdown(curve: Floats, clock: Integers | None = None) -> int:
    """Return the greatest time below a former maximum, peak to recovery or end; 0 if it never falls.

    Counted in points of the curve, or in units of `clock`, int64 of the curve's shape.
    """
    if not curve.size:
        return 0
    position, under = np.arange(curve.size), drawdowns(curve)
    at_high = np.where(under == 0, position, 0)
    previous_high = np.concatenate(([0], np.maximum.accumulate(at_high)[:-1]))
    fell_between = np.concatenate(([False], under[:-1] > 0)) | (under > 0)
    ticks = position if clock is None else clock
    return int(np.where(fell_between, ticks - ticks[previous_high], 0).max())
