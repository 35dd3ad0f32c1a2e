"""What all variants of a sweep read: bars, sessions, clock readings and features, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.market.bars import Floats, Stamps
from lockstep.market.history import History, SeriesKey
from lockstep.metrics import time_scale
from lockstep.strategy.config import ACCEPT_ALL, StrategyConfig
from lockstep.strategy.decision import IN_SESSION
from lockstep.strategy.ibs_decision import IbsConfig
from lockstep.strategy.matching import CLOSE, Costs
from research.backtest import Span
from research.sweep_account import BLOCKS, SKETCH
from research.sweep_calendar import calendar_of
from research.sweep_variants import VariantGroup, group_variants
from research.sweep_veto import Chances

_SKETCH_SEED = 20_240_101


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the loops read of n bars in S sessions; plain arrays, so that a cluster can be sent them once.

    values        float64 (n, ids): the decision vectors
    probability   float64 (n,) of a model, or (1,) without one
    clock         float64 (n, 3): readings, see `SessionClock`
    bars          float64 (n, 4): open, high, low, close
    session       int64 (n,): ordinal of each bar's session; marks: float64 (S,), the last close of each
    edges         int64 (17,): first session of each time block, and S
    bucket, sign  (S,): place in the sketch and sign there of each session
    """

    values: Floats
    probability: Floats
    clock: Floats
    bars: Floats
    session: Stamps
    marks: Floats
    edges: Stamps
    bucket: Stamps
    sign: Floats
    costs: Costs

    @property
    def seen_while_flat(self) -> tuple[Floats, Floats, Floats]:
        """What the search for entries reads."""
        return self.values, self.probability, self.clock

    @property
    def seen_in_position(self) -> tuple[Floats, Floats, Floats, Costs]:
        """What carrying out an entry reads."""
        return self.values, self.clock, self.bars, self.costs


class Prepared:
    """Bars, sessions and features of one sweep over the rows of `span`.

    sessions       how many there are; scale: their years, and what annualises
    block_counts   float64 (16,): sessions in each time block
    """

    def __init__(
        self, history: History, symbol: str, config: StrategyConfig, span: Span, registry: FeatureRegistry
    ) -> None:
        self._history = history
        self._registry = registry
        self._key = SeriesKey(symbol, config.bars)
        self._market = history.markets[symbol]
        bars = history.series(self._key)
        self._calendar = calendar_of(bars, self._market.session)
        self._rows = span.rows(self._calendar.dates, bars.source)
        dates = self._calendar.dates[self._rows]
        begins = dates[1:] != dates[:-1]
        self._session = np.concatenate(([0], np.cumsum(begins))).astype(np.int64)
        self._prices = np.column_stack(
            [each[self._rows] for each in (bars.open, bars.high, bars.low, bars.close)]
        )
        self._marks = self._prices[np.append(np.flatnonzero(begins), len(dates) - 1), CLOSE]
        self.bars = len(dates)
        self.sessions = self._marks.size
        per_year = float(self._market.session.template.sessions_per_year)
        self.scale = time_scale(dates, self.sessions, per_year)
        random = np.random.default_rng(_SKETCH_SEED)
        self._bucket = random.integers(0, SKETCH, self.sessions)
        self._sign = random.choice((-1.0, 1.0), self.sessions)
        block = np.arange(self.sessions) * BLOCKS // self.sessions
        self._edges = np.searchsorted(block, np.arange(BLOCKS + 1))
        self.block_counts = np.diff(self._edges).astype(np.float64)

    def groups(self, configs: Sequence[IbsConfig], threshold: float = ACCEPT_ALL) -> list[VariantGroup]:
        """Return the variants by the loop that they run in."""
        always_open = bool(self._calendar.readings(None)[self._rows, IN_SESSION].all())
        return group_variants(configs, self._market, always_open=always_open, threshold=threshold)

    def inputs(self, config: StrategyConfig, chances: Chances | None = None) -> Inputs:
        """Return what the variants of a group read, of which `config` is one."""
        plan = self._registry.plan(config.feature_ids, self._key)
        features = BatchFeatures(plan, self._history, max_age=config.max_age.limits)
        return Inputs(
            values=np.ascontiguousarray(features.matrix[self._rows]),
            probability=chances.over(self._rows, len(features.end)) if chances else np.ones(1),
            clock=self._calendar.readings(config.auto_close)[self._rows],
            bars=self._prices,
            session=self._session,
            marks=self._marks,
            edges=self._edges,
            bucket=self._bucket,
            sign=self._sign,
            costs=self._market.instrument.costs,
        )
