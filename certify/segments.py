"""The recorded decisions of one instrument, cut into pieces that a backtest can be run beside."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from certify.series import Arrived
from certify.tape import Frame
from lockstep.live.desk import Model
from lockstep.live.rerun import step_of
from lockstep.monitoring.parity import Context, Step
from lockstep.strategy.matching import CASH, POSITION


@dataclass
class OpenSegment:
    """A segment that still grows."""

    model: Model
    opening: float
    steps: list[Step] = field(default_factory=list)
    uncompared: set[int] = field(default_factory=set)


@dataclass
class Cut:
    """The recorded decisions of one instrument, cut where a backtest has to begin anew.

    A backtest begins flat, knows one bundle, no gateway and no operator. So a segment ends with a swap, with
    a required exit (handover, HALT), with an order that the gateway refused and before the bar at which a
    waiting entry was withdrawn; the next one begins at the first bar that found the account flat and no order
    waiting. Bars in between are left out, and counted.
    """

    segments: list[OpenSegment] = field(default_factory=list)
    left_out: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    bundles: list[str] = field(default_factory=list)
    _now: OpenSegment | None = None

    def take(self, frame: Frame) -> None:
        """Take one decision."""
        sha = frame.record.bundle
        if not self.bundles or self.bundles[-1] != sha:
            self.bundles.append(sha)
        if (
            frame.forced is not None
            or frame.withdrawn
            or (self._now and self._now.model.bundle.sha256 != sha)
        ):
            self._now = None
        if self._now is None and frame.forced is None:
            self._now = self._begun(frame)
        if self._now is None:
            self.left_out += 1
            return
        step = step_of(frame.record, frame.stamp, frame.bar)
        self._now.steps.append(replace(step, context=self._context(frame, begun=not self._now.steps)))
        if frame.refused:
            self.refused[frame.refused] += 1
            self._now.uncompared.add(frame.stamp)
            self._now = None

    def _context(self, frame: Frame, *, begun: bool) -> Context:
        """Return what came since the step before; for the first step of a segment, what windows hold."""
        if not begun:
            return frame.context
        return Arrived(frame.labels, frame.model.key, frame.held).at(frame.stamp)

    def _begun(self, frame: Frame) -> OpenSegment | None:
        before = frame.before
        if before.account[POSITION] or before.waiting is not None:
            return None
        begun = OpenSegment(model=frame.model, opening=before.account[CASH])
        self.segments.append(begun)
        return begun
