"""Calendar: where a bar stands in its session, week, month and year, by the session's calendar."""

from __future__ import annotations

import numpy as np

from lockstep.features.feature import feature
from lockstep.features.inputs import Window


@feature(lookback=1, range=(0, 6), shift_invariant=True, scale_invariant=True)
def day_of_week(day_of_week: Window) -> float:
    """Weekday of the session's date: Monday 0 to Sunday 6.

    Range [0, 6]. Never NaN.
    Source: French, Stock Returns and the Weekend Effect, Journal of Financial Economics 8 (1980), pp. 55-69.
    """
    return float(day_of_week[-1])


@feature(lookback=1, range=(1, 12), shift_invariant=True, scale_invariant=True)
def month(month: Window) -> float:
    """Month of the session's date.

    Range [1, 12]. Never NaN.
    Source: Bouman and Jacobsen, The Halloween Indicator, American Economic Review 92 (2002), pp. 1618-1635.
    """
    return float(month[-1])


@feature(lookback=1, range=(1, 31), shift_invariant=True, scale_invariant=True)
def day_of_month(day_of_month: Window) -> float:
    """Day of the month of the session's date.

    Range [1, 31]. Never NaN.
    Source: Ariel, A Monthly Effect in Stock Returns, Journal of Financial Economics 18 (1987), pp. 161-174.
    """
    return float(day_of_month[-1])


@feature(lookback=1, range=(0, 31), shift_invariant=True, scale_invariant=True)
def trading_day_of_month(trading_day_of_month: Window) -> float:
    """Number of the session within its month, by the exchange's calendar; the first is 1.

    Range [0, 31]: 0 for a bar of a date before the month's first session. Never NaN.
    Source: Lakonishok and Smidt, Are Seasonal Anomalies Real?, Review of Financial Studies 1 (1988),
    pp. 403-425.
    """
    return float(trading_day_of_month[-1])


@feature(lookback=1, range=(0, 1), shift_invariant=True, scale_invariant=True, examples=((1,), (3,)))
def month_end(trading_days_left_in_month: Window, days: int) -> float:
    """1 on the last `days` sessions of a month, by the exchange's calendar, else 0.

    Range {0, 1}. Never NaN.
    Source: Lakonishok and Smidt, Are Seasonal Anomalies Real?, Review of Financial Studies 1 (1988),
    pp. 403-425.
    """
    return 1.0 if trading_days_left_in_month[-1] < days else 0.0


@feature(lookback=1, range=(0, 23), shift_invariant=True, scale_invariant=True)
def hour(hour: Window) -> float:
    """Hour of the bar's end on the exchange's clock.

    Range [0, 23]. Never NaN.
    Source: Gao, Han, Li and Zhou, Market Intraday Momentum, Journal of Financial Economics 129 (2018),
    pp. 394-414.
    """
    return float(hour[-1])


@feature(lookback=1, shift_invariant=True, scale_invariant=True)
def minutes_since_open(minute_of_session: Window) -> float:
    """Minutes from the opening of the session to the bar's end.

    Range (-inf, inf): negative before the open, beyond the session's length after the close. Never NaN.
    Source: Gao, Han, Li and Zhou, Market Intraday Momentum, Journal of Financial Economics 129 (2018),
    pp. 394-414.
    """
    return float(minute_of_session[-1])


@feature(
    lookback=1,
    range=(0, float("inf")),
    shift_invariant=True,
    scale_invariant=True,
    examples=((4,),),
)
def session_segment(minute_of_session: Window, session_minutes: Window, parts: int) -> float:
    """Which of `parts` equal parts of the session the bar ends in; the first is 0, half-days are shorter.

    A bar that ends exactly between two parts belongs to the earlier one. Bars outside the session count to
    the nearest part. Range [0, parts - 1]; 0 for a session without length. Never NaN.
    Source: Gao, Han, Li and Zhou, Market Intraday Momentum, Journal of Financial Economics 129 (2018),
    pp. 394-414.
    """
    if session_minutes[-1] <= 0.0:
        return 0.0
    segment = np.ceil(parts * minute_of_session[-1] / session_minutes[-1]) - 1.0
    return float(max(0.0, min(parts - 1.0, segment)))
