"""`MLQuantAgent`: what an agent sees of the zoo, on the bars of its session and none later."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lockstep.market.dates import Day, as_day
from research.zoo.learning import LearningBars
from research.zoo.model_spec import ModelSpec
from research.zoo.zoo import ModelZoo, ZooModel


@dataclass(frozen=True, kw_only=True, eq=False)
class MLQuantAgent:
    """Gets models for an agent, trained where they are not there yet.

    bars       that the session may learn from
    measured   whether new versions are judged out of fold; folds of a session do without
    """

    zoo: ModelZoo
    bars: LearningBars
    measured: bool = True
    _before: dict[int, LearningBars] = field(default_factory=dict, repr=False)

    def get_or_create_model(self, spec: ModelSpec, *, before: Day = None) -> ZooModel:
        """Return the version that answers a spec; what the zoo raises.

        before   a session date: only bars before it are learned from, and no label that reaches into it, so
                 that the version may be read from that day on; None: all bars
        """
        bars, day = self.bars, as_day("before", before)
        if day is not None:
            stop = int(np.searchsorted(bars.sessions, np.datetime64(day)))
            bars = self._before.setdefault(stop, bars) if stop >= bars.size else self._until(stop)
        return self.zoo.get_or_create_model(spec, bars, measured=self.measured)

    def _until(self, stop: int) -> LearningBars:
        if stop not in self._before:
            self._before[stop] = self.bars.until(stop)
        return self._before[stop]
