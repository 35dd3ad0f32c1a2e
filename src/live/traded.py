"""The desk: every traded instrument with its model, its windows and its lane, ready for Cerebro."""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lockstep.features.columns import source_keys
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.features.plan import FeaturePlan
from lockstep.features.streaming import WindowFeatures
from lockstep.live.backtrader.feed import BarSetStage, stage_feed
from lockstep.live.backtrader.recorder import LaneRecorder
from lockstep.live.messages import LaneState, Release, Values
from lockstep.live.risk.rollout import Trades
from lockstep.market.history import BarSet, Market, SeriesKey
from lockstep.market.rolls import Rolls
from lockstep.market.sessions import Session
from lockstep.market.timeframe import Timeframe
from lockstep.models.bundle import Bundle
from lockstep.strategy.bundled import config_of, veto_of
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.decision import HOLD
from lockstep.strategy.lane import Lane
from lockstep.strategy.matching import CLOSE
from lockstep.strategy.sizing import COLUMN, EVERY_REGIME, FIXED, MODE, contracts
from lockstep.strategy.step import vector_ids
from lockstep.strategy.veto import Veto

Kept = Mapping[SeriesKey, tuple[tuple[int, Values], ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class TradedModel:
    """A bundle as the desk trades it: its strategy, its veto if it has one, and what to compute for it."""

    bundle: Bundle
    config: StrategyConfig
    veto: Veto | None
    plan: FeaturePlan

    @classmethod
    def of(cls, bundle: Bundle, registry: FeatureRegistry | None = None) -> TradedModel:
        """Unpack a bundle; errors as of `config_of` and for ids that no feature answers to."""
        config, veto = config_of(bundle), veto_of(bundle)
        key = SeriesKey(bundle.symbol, config.bars)
        plan = (registry or default_registry()).plan(vector_ids(config, veto), key)
        return cls(bundle=bundle, config=config, veto=veto, plan=plan)

    @property
    def key(self) -> SeriesKey:
        """The traded series."""
        return self.plan.base

    def needs(self, markets: Mapping[str, Market]) -> dict[SeriesKey, int]:
        """Return, per series that it reads, how many bars fill every window; a pair's as its reader's."""
        paired = max((self.plan.lookback(key) for key in self.plan.pair_keys), default=1)
        return {
            key: self.plan.lookback(key) if key in self.plan.keys else paired
            for key in source_keys(self.plan, markets)
        }


@functools.cache
def _clock(
    session: Session, timeframe: Timeframe, auto_close: str | None, rolls: Rolls | None
) -> SessionClock:
    """Return the clock that all instruments of a session and of the same rolls read, once per stamp."""
    return SessionClock(session, timeframe, auto_close, rolls)


class Memory:
    """The newest `size` bars of every series: what warms up a model that takes over."""

    def __init__(self, size: int, bars: Kept | None = None) -> None:
        self.size = size
        self._bars: dict[SeriesKey, deque[tuple[int, Values]]] = {}
        for key, kept in (bars or {}).items():
            for end, values in kept:
                self.add(key, end, values)

    def add(self, key: SeriesKey, end: int, values: Values) -> None:
        """Keep one bar."""
        self._bars.setdefault(key, deque(maxlen=self.size)).append((end, values))

    def take(self, release: Release) -> None:
        """Keep the bars of a set, the late ones before it."""
        for late in release.late:
            self.add(late.key, late.end, late.values)
        for key, values in release.bars.items():
            self.add(key, release.stamp, values)

    def count(self, key: SeriesKey) -> int:
        """Return how many bars of a series there are."""
        return len(self._bars.get(key, ()))

    @property
    def bars(self) -> Kept:
        """The bars by series, oldest first."""
        return {key: tuple(kept) for key, kept in self._bars.items()}


class Seat:
    """One lane: the model that trades it, its windows, and what Cerebro runs.

    name   of the lane, "" for the model's symbol; factor, required   as of `Lane`
    """

    def __init__(
        self,
        model: TradedModel,
        stage: BarSetStage,
        markets: Mapping[str, Market],
        state: LaneState | None,
        *,
        name: str = "",
        factor: float = 1.0,
        required: int = HOLD,
    ) -> None:
        self.symbol = name or model.bundle.symbol
        self._markets = markets
        self._feed = stage_feed(stage, model.key, name=self.symbol)
        self.recorder = LaneRecorder(symbol=self.symbol, bundle=model.bundle.sha256)
        self._sit(model, state, factor, required)

    def _sit(self, model: TradedModel, state: LaneState | None, factor: float, required: int) -> None:
        market = self._markets[self.symbol]
        self.model = model
        self.recorder.bundle = model.bundle.sha256
        self.windows = WindowFeatures(model.plan, self._markets, max_age=model.config.max_age.limits)
        self.lane = Lane(
            feed=self._feed,
            market=market,
            config=model.config,
            source=self.windows,
            clock=_clock(market.session, model.config.bars, model.config.auto_close, market.rolls),
            recorder=self.recorder,
            veto=model.veto,
            factor=factor,
            state=state,
            required=required,
        )

    def change(self, model: TradedModel, bars: Kept, *, factor: float = 1.0) -> Lane:
        """Seat another version, its windows filled from `bars`, and return its lane."""
        self._sit(model, None, factor, HOLD)
        warm(self.windows, bars)
        return self.lane


def usual_trades(
    models: Mapping[str, TradedModel], markets: Mapping[str, Market], bars: Kept
) -> dict[str, Trades]:
    """Return what each model would trade on the newest of `bars`, by the name of its lane.

    A fixed size is that size whatever the bars are. A model whose windows they do not fill is left out.
    """
    found = {}
    for name, model in models.items():
        size = _usual_size(model, markets, bars)
        if size is not None:
            found[name] = Trades(size, markets[model.bundle.symbol].instrument.size_step)
    return found


def _usual_size(model: TradedModel, markets: Mapping[str, Market], bars: Kept) -> float | None:
    mode, amount, column, unit, step, *_ = model.config.sizing_rules(markets[model.bundle.symbol].instrument)
    # What it trades where no regime makes it smaller: a regime is no reason to be without a size.
    sizing = (mode, amount, column, unit, step, *EVERY_REGIME)
    if sizing[MODE] == FIXED:
        return float(contracts(np.empty(0), 0.0, sizing))
    windows = WindowFeatures(model.plan, markets, max_age=model.config.max_age.limits)
    warm(windows, bars)
    if not bars.get(model.key):
        return None
    stamp, newest = bars[model.key][-1]
    values = windows.vector(stamp)
    known = not math.isnan(values[int(sizing[COLUMN])])
    return float(contracts(values, newest[CLOSE], sizing)) if known else None


def bar_sets(bars: Kept) -> list[BarSet]:
    """Return kept bars as sets, in the order of their stamps."""
    by_stamp: dict[int, dict[SeriesKey, Values]] = {}
    for key, kept in bars.items():
        for end, values in kept:
            by_stamp.setdefault(end, {})[key] = values
    return [BarSet(stamp, by_stamp[stamp]) for stamp in sorted(by_stamp)]


def warm(windows: WindowFeatures, bars: Kept) -> None:
    """Push kept bars of the series that the windows read."""
    windows.push_all(bar_sets({key: bars[key] for key in windows.keys if key in bars}))


def released_sets(release: Release) -> tuple[BarSet, ...]:
    """Return a released set as windows take it: the late bars before it, each at its own stamp."""
    late = (BarSet(each.end, {each.key: each.values}) for each in release.late)
    return (*late, BarSet(release.stamp, release.bars))


def push(windows: WindowFeatures, release: Release) -> None:
    """Push a released set, the late bars before it."""
    for bar_set in released_sets(release):
        windows.push(bar_set)
