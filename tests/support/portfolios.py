"""Several instruments of different sessions and timeframes in one Cerebro."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import default_registry
from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.strategy.admission import Admission, Admissions, LaneNews, LaneStanding, Settled
from lockstep.strategy.backtrader.cerebro import build_cerebro
from lockstep.strategy.backtrader.feed import bars_feed
from lockstep.strategy.backtrader.strategy import ParityStrategy
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.decision import ENTER_LONG, ENTER_SHORT
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.lane import Lane
from lockstep.strategy.records import MemoryRecorder
from lockstep.strategy.step import vector_ids
from support.scenarios import make_bars

BOOK = load_instruments()
VOLATILITY = "realised_vol_20_252"
LEVELS = {
    "BTC-USD": 20_000.0,
    "CL": 60.0,
    "ES": 3_000.0,
    "GC": 1_500.0,
    "NQ": 8_000.0,
    "SPY": 300.0,
    "ZC": 400.0,
}
SIZES: tuple[Mapping[str, Any], ...] = (
    {"kind": "fixed", "contracts": 3},
    {"kind": "volatility", "target": 0.4},
)


def bars_of(symbol: str, timeframe: str, count: int, seed: int, *, first: str = "2019-01-02") -> Bars:
    """Return `count` bars of the instrument's own session; hourly ones also when the market is closed."""
    market, random = BOOK.markets[symbol], np.random.default_rng(seed)
    start = np.datetime64(first, "D")
    if timeframe == "1d":
        dates = market.session.scheduled_dates(start, start + np.timedelta64(3 * count + 30, "D"))
        ends = market.session.nominal_close(dates[:count]).view("M8[ns]")
    else:
        ends = start.astype("M8[ns]") + np.arange(1, count + 1) * np.timedelta64(1, "h")
    level, tick = LEVELS[symbol], market.instrument.tick_size
    close = level * np.exp(np.cumsum(random.normal(0, 0.01, count)))
    opened = close * np.exp(random.normal(0, 0.006, count))
    high = np.maximum(opened, close) * (1 + np.abs(random.normal(0, 0.004, count)))
    low = np.minimum(opened, close) * (1 - np.abs(random.normal(0, 0.004, count)))
    prices = np.round(np.column_stack([opened, high, low, close]) / tick) * tick
    config = IbsConfig(name="x", timeframe=timeframe)
    return make_bars(prices.tolist(), ends, symbol=symbol, timeframe=config.bars)


def config_of(timeframe: str, seed: int, **changes: Any) -> IbsConfig:
    """Return a strategy that trades often, its size by `seed`."""
    settings: dict[str, Any] = {
        "name": "lane", "timeframe": timeframe, "direction": "both", "entry": [0.0, 0.3], "exit": [0.7, 1.0],
        "short_entry": [0.75, 1.0], "short_exit": [0.0, 0.3], "stop": {"percent": 1.5},
        "target": {"percent": 2.5}, "max_bars": 6, "size": SIZES[seed % 2], "features": [VOLATILITY],
        "capital": 1_000_000.0,
    }  # fmt: skip
    return IbsConfig.model_validate(settings | changes)


@dataclass(frozen=True, kw_only=True)
class World:
    """Bars and a strategy of each instrument, in the order of the symbols."""

    history: History
    configs: Mapping[str, StrategyConfig]
    factors: Mapping[str, float] = field(default_factory=dict)

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(sorted(self.configs))

    def lane(self, symbol: str) -> Lane:
        config, market = self.configs[symbol], self.history.markets[symbol]
        key = SeriesKey(symbol, config.bars)
        plan = default_registry().plan(vector_ids(config, None), key)
        return Lane(
            feed=bars_feed(self.history.series(key)),
            market=market,
            config=config,
            source=BatchFeatures(plan, self.history, max_age=config.max_age.limits),
            clock=SessionClock(market.session, config.bars, config.auto_close),
            recorder=MemoryRecorder(),
            factor=self.factors.get(symbol, 1.0),
        )

    def together(
        self, admissions: Admissions | None, *, live: bool = False, symbols: Sequence[str] = ()
    ) -> dict[str, MemoryRecorder]:
        """Run all lanes in one Cerebro and return what each recorded."""
        lanes = [self.lane(each) for each in symbols or self.symbols]
        build_cerebro(lanes, ParityStrategy, live=live, admissions=admissions).run()
        return {lane.market.instrument.symbol: recorder_of(lane) for lane in lanes}

    def alone(self, symbol: str) -> MemoryRecorder:
        lane = self.lane(symbol)
        build_cerebro([lane], ParityStrategy).run()
        return recorder_of(lane)


def world(seed: int, chosen: Mapping[str, tuple[str, int]], **changes: Any) -> World:
    """Return a world of `symbol -> (timeframe, number of bars)`."""
    bars, configs = {}, {}
    for place, (symbol, (timeframe, count)) in enumerate(sorted(chosen.items())):
        configs[symbol] = config_of(timeframe, seed + place, **changes)
        bars[SeriesKey(symbol, configs[symbol].bars)] = bars_of(symbol, timeframe, count, 100 * seed + place)
    return World(
        history=History(bars=bars, markets={each: BOOK.markets[each] for each in chosen}), configs=configs
    )


def recorder_of(lane: Lane) -> MemoryRecorder:
    assert isinstance(lane.recorder, MemoryRecorder)
    return lane.recorder


def recorded(recorder: MemoryRecorder) -> dict[str, Any]:
    """Return everything that a lane recorded, comparable to the bit.

    Order references are numbered per process: what counts is their order among those of the lane.
    """
    ranks = {each: place for place, each in enumerate(sorted({order.reference for order in recorder.orders}))}
    return {
        "stamps": recorder.stamps,
        "vectors": np.array(recorder.vectors).tobytes(),
        "probabilities": np.array(recorder.probabilities).tobytes(),
        "decisions": list(zip(recorder.codes, recorder.reasons, strict=True)),
        "orders": [repr(replace(order, reference=ranks[order.reference])) for order in recorder.orders],
        "trades": [repr(trade) for trade in recorder.trades],
        "marks": [repr(mark) for mark in recorder.marks],
    }


@dataclass
class AdmitAll:
    """Admits every proposal as it is, and keeps what it was told."""

    symbols: tuple[str, ...]
    volatility_id: str = VOLATILITY
    rank_id: str = ""
    stamps: list[int] = field(default_factory=list)
    proposed: list[tuple[str, float]] = field(default_factory=list)

    def settle(
        self, stamp: int, news: Sequence[LaneNews | None], standing: Sequence[LaneStanding]
    ) -> Settled:
        self.stamps.append(stamp)
        answers = [self.answer(symbol, each) for symbol, each in zip(self.symbols, news, strict=True)]
        return Settled(answers, flatten=False)

    def answer(self, symbol: str, news: LaneNews | None) -> Admission | None:
        if news is None or news.quantity == 0.0:
            return None
        self.proposed.append((symbol, news.quantity))
        return Admission(ENTER_LONG if news.quantity > 0.0 else ENTER_SHORT, news.quantity)
