"""Signals of a lane and closes of its sessions, as the two arrays that `decay.decay` reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lockstep.errors import DataError
from lockstep.metrics.arrays import Floats
from lockstep.monitoring.alarms import moment
from lockstep.monitoring.outcomes import SignalOutcome

NEUTRAL = 0.5


def decay_arrays(
    outcomes: Iterable[SignalOutcome], stamps: Any, closes: Any, *, neutral: float = NEUTRAL
) -> tuple[Floats, Floats]:
    """Return (signal, returns), float64 (n,) each, of n sessions of one lane.

    outcomes  of one lane and one bundle, in any state: those that were refused or are still open said as much
              as others
    stamps    int64 (n,), UTC ns, rising: end of the last bar of each session
    closes    float64 (n,), points > 0: close of that bar, NaN where there is none
    neutral   the probability that says nothing of the direction, [0, 1]

    signal    side * (probability - neutral) of the last signal decided in the session; NaN without one, or
              without a model
    returns   change of the close since the session before, as a share of it; NaN at the first

    **Why this signal.** A probability is that of the trade, not of a rising price: a short at .7 speaks for a
    fall. Its distance from `neutral`, with the sign of the side, is a forecast of the instrument's return, so
    that the information coefficient asks one question, "higher forecast, higher return", of longs and shorts
    alike, at any horizon. Ranks within one side stay what they are: for a lane of one side `neutral` changes
    nothing. A short below `neutral` counts as a weak forecast of a rise.

    DataError for signals of several lanes or bundles, stamps that do not rise, a close that is not positive,
    a probability outside [0, 1], or lengths that differ. Signals before the first or after the last session,
    where no return is known, are left out.

    >>> def signal(decision, side, probability):
    ...     return SignalOutcome(lane="ES", decision=decision, bundle="b", side=side, probability=probability,
    ...                          state="open")
    >>> x, y = decay_arrays([signal(2, 1, 0.75), signal(3, -1, 0.75)], [1, 2, 3], [100.0, 110.0, 99.0])
    >>> x, y.round(2)
    (array([  nan,  0.25, -0.25]), array([ nan,  0.1, -0.1]))
    """
    ends, close = np.asarray(stamps, dtype=np.int64), np.asarray(closes, dtype=np.float64)
    if ends.ndim != 1 or ends.shape != close.shape or not (np.diff(ends) > 0).all():
        raise DataError(
            f"decay: {ends.size} ends of sessions and {close.size} closes; give one of each, rising in time"
        )
    if not ((close > 0) | np.isnan(close)).all() or np.isinf(close).any():
        raise DataError("decay: a close is not positive and finite; give points, or NaN where there is none")
    if not 0.0 <= neutral <= 1.0:
        raise DataError(f"decay: neutral probability {neutral}: must lie in [0, 1]; 0.5 is usual")
    returns = np.full(close.size, np.nan)
    returns[1:] = close[1:] / close[:-1] - 1.0
    return _signals(outcomes, ends, neutral), returns


def _signals(outcomes: Iterable[SignalOutcome], ends: Any, neutral: float) -> Floats:
    ordered = sorted(outcomes, key=lambda each: each.decision)
    sources = {(each.lane, each.bundle[:12]) for each in ordered}
    if len(sources) > 1:
        raise DataError(f"decay: signals of {sorted(sources)}; a half-life is of one lane and one bundle")
    found = np.full(ends.size, np.nan)
    for each in ordered:
        if each.probability < 0.0 or each.probability > 1.0:
            raise DataError(
                f"decay: probability {each.probability} at {moment(each.decision)}: must lie in [0, 1]"
            )
        session = int(np.searchsorted(ends, each.decision))
        if session < ends.size and (session > 0 or each.decision == ends[0]):
            found[session] = each.side * (each.probability - neutral)
    return found
