"""Run one strategy over one instrument's history: the research door to `build_cerebro`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lockstep.features.batch import BatchFeatures
from lockstep.features.columns import source_keys
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.floats import require_exact, require_still_exact
from lockstep.market.dates import DateRange
from lockstep.market.history import History, Market, SeriesKey
from lockstep.strategy.backtrader.cerebro import build_cerebro
from lockstep.strategy.backtrader.feed import bars_feed
from lockstep.strategy.backtrader.strategy import ParityStrategy
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.lane import Lane
from lockstep.strategy.records import MemoryRecorder
from lockstep.strategy.step import vector_ids
from lockstep.strategy.veto import Veto
from research.backtest.provenance import ReadFile, provenance
from research.backtest.records import RunRecords
from research.backtest.result import BacktestResult


def context_keys(
    config: StrategyConfig,
    markets: Mapping[str, Market],
    symbol: str,
    *,
    veto: Veto | None = None,
    registry: FeatureRegistry | None = None,
) -> tuple[SeriesKey, ...]:
    """Return every series that a run of `config` on `symbol` reads, the traded one included."""
    registry = registry or default_registry()
    plan = registry.plan(vector_ids(config, veto), SeriesKey(symbol, config.bars))
    return source_keys(plan, markets)


def run_backtest(
    config: StrategyConfig,
    history: History,
    symbol: str,
    *,
    span: DateRange | None = None,
    veto: Veto | None = None,
    strategy: type[ParityStrategy] = ParityStrategy,
    registry: FeatureRegistry | None = None,
    seed: int = 0,
    on_bar: Callable[[int], None] | None = None,
    model: Mapping[str, Any] | None = None,
    files: Sequence[ReadFile] = (),
) -> BacktestResult:
    """Trade `config` on `symbol` and return what happened.

    `history` holds the bars of the traded series and of every series its features read; `seed` is
    recorded for procedures that draw random numbers (the engine draws none); `model` names the bundle of
    `veto` in the provenance; `files` are those that the bars were read from, for what the result says of
    them. FloatModeError where the processor does not compute as every other run does.
    """
    require_exact()
    registry = registry or default_registry()
    key = SeriesKey(symbol, config.bars)
    market = history.markets[symbol]
    plan = registry.plan(vector_ids(config, veto), key)
    bars = history.series(key)
    rows = (span or DateRange()).select(bars, market)
    traded = bars.rows(rows.start, rows.stop)
    clock = SessionClock(market.session, config.bars, config.auto_close)
    clock.prepare(traded.end)
    recorder = MemoryRecorder()
    lane = Lane(
        feed=bars_feed(traded),
        market=market,
        config=config,
        source=BatchFeatures(plan, history, max_age=config.max_age.limits),
        clock=clock,
        recorder=recorder,
        veto=veto,
        on_bar=on_bar,
    )
    build_cerebro([lane], strategy).run()
    require_still_exact()
    return BacktestResult(
        config=config,
        market=market,
        bars=traded,
        records=RunRecords.of(recorder),
        vector_ids=plan.ids,
        files=tuple(files),
        provenance=provenance(
            config=config,
            instrument=market.instrument,
            inputs={each: history.series(each) for each in source_keys(plan, history.markets)},
            fingerprints={each: registry.fingerprint(each) for each in plan.ids},
            traded=traded,
            seed=seed,
            model=model,
        ),
    )
