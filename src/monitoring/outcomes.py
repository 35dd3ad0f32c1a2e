"""Outcomes of signals: one row for each decision of a strategy that wanted to enter.

Which of them feed what: `taken` alone feeds win rate and P&L; `taken` and `vetoed`, thinned until no two of
them overlap in time, feed calibration and the information coefficient; curves use all that have an outcome.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from lockstep.metrics.arrays import Floats

OutcomeState = Literal["taken", "vetoed", "refused", "censored", "open", "unsettled"]
STATES: tuple[OutcomeState, ...] = ("taken", "vetoed", "refused", "censored", "open", "unsettled")
FINAL: frozenset[OutcomeState] = frozenset(("taken", "vetoed", "refused", "censored"))


class SignalKey(NamedTuple):
    """What names a signal: its lane, the end of the bar that was decided on (UTC ns), hash of the bundle."""

    lane: str
    decision: int
    bundle: str


@dataclass(frozen=True, kw_only=True)
class SignalOutcome:
    """What became of one signal.

    lane, decision, bundle   see `SignalKey`; side: 1 long, -1 short
    probability   [0, 1], NaN without a model
    state         `taken`: traded from flat to flat by its own rules; `vetoed`: followed by the round trips
                  that label training data, as if it had been traded; `refused`: by gateway, portfolio,
                  broker or size; `censored`: ended by a handover, HALT or the portfolio, not by its rules;
                  `open`: held; `unsettled`: its order, or its round trip, has not ended
    reason        of a refusal or a censoring, or what it waits for, in words
    entry, exit   UTC ns of the fills' bars, 0 while there is none
    quantity      signed contracts, 0 where nothing was traded; prices in points, NaN while there is none
    pnl           net, in the account's money; NaN while there is none; of `vetoed` counterfactual
    following     see `following`; NaN: none
    """

    lane: str
    decision: int
    bundle: str
    side: int
    probability: float
    state: OutcomeState
    reason: str = ""
    entry: int = 0
    exit: int = 0
    quantity: float = 0.0
    entry_price: float = math.nan
    exit_price: float = math.nan
    pnl: float = math.nan
    following: float = math.nan

    @property
    def key(self) -> SignalKey:
        """Return what names the signal."""
        return SignalKey(self.lane, self.decision, self.bundle)

    @property
    def won(self) -> bool:
        """Whether it earned something after costs; False without an outcome."""
        return self.pnl > 0.0

    @property
    def is_final(self) -> bool:
        """Whether nothing can change it any more but a correction."""
        return self.state in FINAL


def following(close: Any, next_close: Any, side: Any) -> Floats:
    """Return the change of the close over the next bar as a share of |close|, times side; float64 (n,).

    close, next_close   float64 (n,), points, of the bar that was decided on and of the one after it
    side                (n,) or one for all: 1 long, -1 short

    A share of the size, since an adjusted series may be below 0. NaN where the close is 0 or one is NaN.

    >>> following([100.0, -50.0, 0.0], [101.0, -49.0, 1.0], [1, -1, 1]).tolist()
    [0.01, -0.02, nan]
    """
    now, after = np.asarray(close, dtype=np.float64), np.asarray(next_close, dtype=np.float64)
    size = np.where(now == 0.0, np.nan, np.abs(now))
    return np.asarray(side * (after - now) / size, dtype=np.float64)


def thinned(outcomes: Iterable[SignalOutcome]) -> tuple[SignalOutcome, ...]:
    """Return signals of one lane and bundle no two of which overlap: first come, first chosen, by decision.

    Of `taken` and `vetoed`; a signal is chosen where the chosen one before it has ended by its decision. One
    without an outcome yet ends the choice: what comes after it cannot be known. This is how a strategy that
    holds one position would have traded them all, as in training.

    >>> def signal(decision, exit, state="vetoed"):
    ...     return SignalOutcome(
    ...         lane="ES", decision=decision, bundle="b", side=1, probability=0.5, state=state, exit=exit)
    >>> [each.decision for each in thinned([signal(3, 5), signal(1, 3), signal(2, 4), signal(6, 0, "open")])]
    [1, 3]
    """
    chosen: list[SignalOutcome] = []
    free = -math.inf
    for each in sorted(outcomes, key=lambda one: one.decision):
        if each.decision < free or each.state in ("refused", "censored"):
            continue
        if not each.is_final:
            break
        chosen.append(each)
        free = each.exit
    return tuple(chosen)
