"""A recorded decision taken again: the same `decide`, on the recorded account and a vector of our choice."""

from __future__ import annotations

import math
from typing import NamedTuple

from certify.tape import Frame
from lockstep.features.batch import BatchFeatures
from lockstep.live.desk import Model
from lockstep.market.bars import Floats
from lockstep.market.history import Market
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.decision import (
    COLUMN_CODES,
    ENTRIES,
    EXITS,
    FILTERED,
    MISSING,
    NAMES,
    ORDER_WAITING,
    OUTSIDE_SESSION,
    PASS,
    SIZE_ZERO,
)
from lockstep.strategy.ibs_decision import decide
from lockstep.strategy.lane import Lane, Terms
from lockstep.strategy.matching import CLOSE, POSITION
from lockstep.strategy.records import MemoryRecorder
from lockstep.strategy.sizing import contracts


class Decided(NamedTuple):
    """A decision: its code, and the probability, NaN where the model was not asked."""

    code: int
    probability: float


class Judge:
    """Takes decisions of one model again. It holds no state: what the account held is in the frame."""

    def __init__(self, model: Model, market: Market, source: BatchFeatures) -> None:
        self._veto = model.veto
        self.clock = SessionClock(market.session, model.config.bars, model.config.auto_close)
        lane = Lane(
            feed=None, market=market, config=model.config, source=source, clock=self.clock,
            recorder=MemoryRecorder(), veto=model.veto,
        )  # fmt: skip
        self._terms = Terms.of(lane)

    def again(self, frame: Frame, values: Floats) -> Decided:
        """Return what is decided on `values` (k,) with the account, clock and orders of the record."""
        state, clock = frame.record.state, self.clock.at(frame.stamp)
        position = state.account[POSITION]
        holding = (math.copysign(1.0, position), float(state.bars_held)) if position else (0.0, 0.0)
        rules, filters = self._terms.rules, self._terms.filters
        code, probability = decide(values, PASS, clock, holding, rules, filters), math.nan
        if frame.forced is not None and position and code != OUTSIDE_SESSION:
            code = frame.forced
        elif code in ENTRIES and self._veto is not None:
            probability = self._veto.probability(values[list(self._terms.model_columns)])
            code = decide(values, probability, clock, holding, rules, filters)
        return Decided(self._placed(code, frame, values), probability)

    def _placed(self, code: int, frame: Frame, values: Floats) -> int:
        if code in ENTRIES | EXITS and frame.waiting:
            return ORDER_WAITING
        if code in ENTRIES and contracts(values, frame.bar[CLOSE], self._terms.sizing) == 0.0:
            return SIZE_ZERO
        return int(code)


def spelled(code: int, model: Model) -> str:
    """Return a decision in words, as its record spells it."""
    if code >= FILTERED:
        return f"filter {model.config.filters[code - FILTERED].feature}"
    return f"missing {model.plan.ids[code - MISSING]}" if code >= COLUMN_CODES else NAMES[code]
