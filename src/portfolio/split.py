"""A/B tests that split signals: a lane which is an arm enters on the signals of this arm alone.

The arm of a signal is the first bit of a hash of test, symbol, session and decision, so that nobody can
choose it, and live, research, a restart and a later reader of the journal agree without asking one another.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lockstep.market.bars import Flags, Stamps
from lockstep.market.sessions import Session
from lockstep.market.timeframe import Timeframe
from lockstep.settings import Settings

CHAMPION, CHALLENGER = "champion", "challenger"


class SplitArm(Settings):
    """Which arm of the A/B test of which name a lane is."""

    test: Annotated[str, Field(min_length=1, max_length=80)]
    arm: Literal["champion", "challenger"]


def arm_of(test: str, symbol: str, session: str, decision: int) -> str:
    """Return the arm of a signal in a test that splits them: `champion` or `challenger`, half of them each.

    test       its name; session   ISO date of the session that was decided in
    decision   stamp of the decision, UTC ns

    >>> arm_of("limit orders", "ES", "2026-03-02", 1_772_485_200_000_000_000)
    'champion'
    """
    text = json.dumps([test, symbol, session, decision], separators=(",", ":"))
    first = hashlib.sha256(text.encode()).digest()[0] >> 7
    return CHALLENGER if first else CHAMPION


def challenger_signals(
    test: str, symbol: str, session: Session, timeframe: Timeframe, decisions: Stamps
) -> Flags:
    """Return which decisions belong to the challenger, bool (n,); the champion has all others.

    symbol      that is traded, also where a lane has another name
    decisions   int64 (n,): stamps of the bars that were decided on, UTC ns; session, timeframe   of them
    """
    stamps = np.asarray(decisions, dtype=np.int64)
    dates = session.dates(stamps, timeframe)
    arms = (arm_of(test, symbol, str(day), stamp) for day, stamp in zip(dates, stamps.tolist(), strict=True))
    return np.array([each == CHALLENGER for each in arms], dtype=np.bool_)
