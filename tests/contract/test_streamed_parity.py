"""One strategy fed all at once and bar by bar: vectors, decisions, orders and equity are equal to the bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import FeatureError
from lockstep.features.batch import BatchFeatures
from lockstep.features.columns import source_keys
from lockstep.features.feature_registry import default_registry
from lockstep.features.plan import FeaturePlan, FeatureSource
from lockstep.features.streaming import WindowFeatures
from lockstep.market.bars import Bars, Floats
from lockstep.market.config import load_instruments
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.market.timeframe import DAILY, Timeframe
from lockstep.strategy.backtrader.cerebro import build_cerebro
from lockstep.strategy.backtrader.feed import bars_feed
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.ibs_strategy import IbsStrategy
from lockstep.strategy.lane import Lane
from lockstep.strategy.records import MemoryRecorder
from lockstep.strategy.step import vector_ids
from research.backtest.run import context_keys

CONFIGS = Path(__file__).parents[2] / "configs" / "strategies"
BOOK = load_instruments()
CONTEXT = IbsConfig.model_validate(
    {
        "name": "context",
        "direction": "both",
        "stop": {"atr": 2.0},
        "target": {"percent": 2.0},
        "max_bars": 8,
        "filters": [
            {"feature": "pair_zscore_20", "min": -2.0, "max": 2.0},
            {"feature": "ibs@SPX", "min": 0.05},
        ],
        "features": ["day_of_week", "month_end_1", "ibs*rsi_2", "close_ema_atr_50_14", "pair_corr_20"],
    }
)


class Streamed:
    """A source that has seen no bar later than the stamp it is asked for."""

    def __init__(self, plan: FeaturePlan, history: History) -> None:
        self.plan = plan
        self._windows = WindowFeatures(plan, history.markets)
        self._sets = history.bar_sets()

    def vector(self, stamp: int) -> Floats:
        for bar_set in self._sets:
            self._windows.push(bar_set)
            if bar_set.stamp == stamp:
                break
        return self._windows.vector(stamp)

    def absence(self, column: int, stamp: int) -> str:
        return self._windows.absence(column, stamp)


class Shifted(BatchFeatures):
    """PARITY 1, the mutant: one value belongs to the next bar."""

    def __init__(self, plan: FeaturePlan, history: History) -> None:
        super().__init__(plan, history)
        matrix = self.matrix.copy()
        matrix[:-1, 1] = matrix[1:, 1]
        matrix.setflags(write=False)
        self.matrix = matrix


def run(
    config: IbsConfig, history: History, symbol: str, source: Callable[..., FeatureSource], *, live: bool
) -> MemoryRecorder:
    key = SeriesKey(symbol, config.bars)
    plan = default_registry().plan(vector_ids(config, None), key)
    wanted = source_keys(plan, history.markets)
    known = replace(history, bars={each: history.series(each) for each in wanted})
    market = history.markets[symbol]
    recorder = MemoryRecorder()
    lane = Lane(
        feed=bars_feed(history.series(key)),
        market=market,
        config=config,
        source=source(plan, known),
        clock=SessionClock(market.session, config.bars, config.auto_close),
        recorder=recorder,
    )
    build_cerebro([lane], IbsStrategy, live=live).run()
    return recorder


def differences(first: MemoryRecorder, second: MemoryRecorder) -> list[str]:
    """Name what differs, bit for bit; order references are numbered per process and left out."""
    pairs: dict[str, tuple[Any, Any]] = {
        "vectors": (np.array(first.vectors).tobytes(), np.array(second.vectors).tobytes()),
        "decisions": (list(zip(first.codes, first.reasons, strict=True)),
                      list(zip(second.codes, second.reasons, strict=True))),
        "orders": ([repr(replace(order, reference=0)) for order in first.orders],
                   [repr(replace(order, reference=0)) for order in second.orders]),
        "trades": (repr(first.trades), repr(second.trades)),
        "equity": (first.marks, second.marks),
    }  # fmt: skip
    return [name for name, (one, other) in pairs.items() if one != other]


def embedded(last: int) -> History:
    history = load_history(
        "COMP", timeframe=DAILY, context=context_keys(CONTEXT, BOOK.markets, "COMP"), start="2010-01-01"
    )
    return replace(history, bars={key: bars.rows(0, last) for key, bars in history.bars.items()})


def test_daily_bars_with_pair_and_calendar() -> None:
    history = embedded(2_500)
    research = run(CONTEXT, history, "COMP", BatchFeatures, live=False)
    live = run(CONTEXT, history, "COMP", Streamed, live=True)
    assert differences(research, live) == []
    assert len(research.trades) > 50


def test_missing_pair_bars_are_missing_in_both() -> None:
    history = embedded(2_000)
    spx = history.series(SeriesKey("SPX", DAILY))
    kept = np.delete(np.arange(len(spx)), np.r_[700:715, 1200, 1500:1520])
    columns = {name: column[kept] for name, column in spx.columns().items()}
    gappy = replace(spx, end=spx.end[kept], **columns)
    history = replace(history, bars={**history.bars, SeriesKey("SPX", DAILY): gappy})
    research = run(CONTEXT, history, "COMP", BatchFeatures, live=False)
    assert differences(research, run(CONTEXT, history, "COMP", Streamed, live=True)) == []
    assert "missing pair_zscore_20" in research.reasons


def test_a_feature_shifted_by_one_bar_is_caught() -> None:
    history = embedded(2_500)
    mutant = run(CONTEXT, history, "COMP", Shifted, live=False)
    assert "vectors" in differences(mutant, run(CONTEXT, history, "COMP", Streamed, live=True))


def test_a_late_vector_is_refused() -> None:
    history = embedded(300)
    plan = default_registry().plan(("ibs",), SeriesKey("COMP", DAILY))
    source = Streamed(plan, history)
    end = history.series(plan.base).end
    source.vector(int(end[10]))
    with pytest.raises(FeatureError, match="the newest bar ended at"):
        source._windows.vector(int(end[9]))


def hourly(shared_data: Path, bars: int) -> History:
    timeframe = Timeframe.parse("1h")
    config = IbsConfig.load(CONFIGS / "ibs_hourly.yaml")
    history = load_history(
        "SPY",
        shared_data / "equity_hourly",
        timeframe=timeframe,
        context=context_keys(config, BOOK.markets, "SPY"),
    )
    key = SeriesKey("SPY", timeframe)
    last = int(history.series(key).end[bars - 1])

    def until(series: Bars) -> Bars:
        return series.rows(0, int(np.searchsorted(series.end, last, side="right")))

    return replace(history, bars={each: until(series) for each, series in history.bars.items()})


def test_hourly_bars_with_daily_context(shared_data: Path) -> None:
    config = IbsConfig.load(CONFIGS / "ibs_hourly.yaml")
    history = hourly(shared_data, 9_000)
    research = run(config, history, "SPY", BatchFeatures, live=False)
    live = run(config, history, "SPY", Streamed, live=True)
    assert differences(research, live) == []
    assert len(research.trades) > 100


def test_the_running_daily_bar_would_be_caught(shared_data: Path) -> None:
    """PARITY 11, the mutant: the day's bar stamped with its open is visible while it is still running."""
    config = IbsConfig.load(CONFIGS / "ibs_hourly.yaml")
    history = hourly(shared_data, 9_000)
    daily = history.series(SeriesKey("SPY", DAILY))
    early = replace(daily, end=daily.end - 6 * 3_600_000_000_000)
    leaking = replace(history, bars={**history.bars, SeriesKey("SPY", DAILY): early})
    mutant = run(config, leaking, "SPY", BatchFeatures, live=False)
    assert "vectors" in differences(mutant, run(config, history, "SPY", Streamed, live=True))
