"""Run one strategy over one instrument's history: the research door to `build_cerebro`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from lockstep.errors import ConfigError, EngineMismatch
from lockstep.features.batch import BatchFeatures
from lockstep.features.columns import source_keys
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.floats import require_exact, require_still_exact
from lockstep.market.bars import Bars
from lockstep.market.dates import DateRange
from lockstep.market.history import History, Market, SeriesKey
from lockstep.market.instrument import traded_symbol
from lockstep.strategy.backtrader.cerebro import build_cerebro
from lockstep.strategy.backtrader.feed import bars_feed
from lockstep.strategy.backtrader.strategy import ParityStrategy
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.lane import Lane
from lockstep.strategy.records import MemoryRecorder
from lockstep.strategy.step import DecisionRules, vector_ids
from lockstep.strategy.veto import Veto
from research.backtest.engine import Admitted, CompiledRun
from research.backtest.provenance import ReadFile, by_engine, provenance
from research.backtest.records import RunRecords
from research.backtest.referee import first_difference
from research.backtest.result import BacktestResult

Engine: TypeAlias = Literal["backtrader", "compiled"]

BACKTRADER: Engine = "backtrader"
COMPILED: Engine = "compiled"
MANY_BARS = 200_000
"""From so many traded bars on, a run whose engine nobody chose is compiled."""


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
    engine: Engine | None = BACKTRADER,
    verify: bool = False,
) -> BacktestResult:
    """Trade `config` on `symbol` and return what happened.

    `history` holds the bars of the traded series and of every series its features read; `seed` is
    recorded for procedures that draw random numbers (the engine draws none); `model` names the bundle of
    `veto` in the provenance; `files` are those that the bars were read from, for what the result says of
    them. FloatModeError where the processor does not compute as every other run does.

    engine   `compiled` gives the same result many times faster; None: by the number of bars
    verify   run the other engine, too: EngineMismatch, with the first difference, unless it agrees
    """
    require_exact()
    run = InstrumentRun.of(
        config, history, symbol, span=span, veto=veto, strategy=strategy, registry=registry, on_bar=on_bar
    )
    chosen = engine_for(engine, len(run.traded))
    if strategy is not ParityStrategy and (verify or chosen == COMPILED):
        raise ConfigError(
            f"engine compiled: runs a family's own rules, not those of {strategy.__name__}; leave the class "
            "out, or choose the engine backtrader"
        )
    records = run.records(chosen)
    if verify:
        run.require_agreement(records, chosen)
    require_still_exact()
    return run.result(records, chosen, seed=seed, model=model, files=files)


def engine_for(asked: Engine | None, bars: int) -> Engine:
    """Return the engine that was asked for, else the one for so many bars; ConfigError for no engine."""
    if asked is None:
        return COMPILED if bars >= MANY_BARS else BACKTRADER
    if asked not in get_args(Engine):
        raise ConfigError(f"engine {asked!r}: unknown; choose backtrader or compiled")
    return asked


def engine_lines(result: BacktestResult, asked: Engine | None, *, verified: bool) -> list[str]:
    """Return what a user must know of the engine that ran, lines to print; none of the usual one."""
    lines = []
    if asked is None and result.engine == COMPILED:
        lines.append(
            f"{result.label}: {len(result.bars):,} bars, so the compiled engine ran; engine backtrader runs "
            "Backtrader, verify both"
        )
    if verified:
        records = result.records
        lines.append(
            f"{result.label}: both engines wrote the same {len(records):,} decisions, "
            f"{len(records.orders):,} order states and {len(records.trades):,} trades"
        )
    return lines


@dataclass(frozen=True, kw_only=True)
class InstrumentRun:
    """One run, whichever engine carries it out; `rows` of the source's bars are traded. Made by `of`."""

    config: StrategyConfig
    history: History
    registry: FeatureRegistry
    market: Market
    traded: Bars
    rows: slice
    source: BatchFeatures
    veto: Veto | None
    strategy: type[ParityStrategy]
    on_bar: Callable[[int], None] | None

    @classmethod
    def of(
        cls,
        config: StrategyConfig,
        history: History,
        symbol: str,
        *,
        span: DateRange | None,
        veto: Veto | None,
        strategy: type[ParityStrategy] = ParityStrategy,
        registry: FeatureRegistry | None = None,
        on_bar: Callable[[int], None] | None = None,
    ) -> InstrumentRun:
        """Select the traded bars and compute the features; arguments as of `run_backtest`.

        symbol   or the name of the lane that trades it, which every record then bears
        """
        registry = registry or default_registry()
        traded = traded_symbol(symbol)
        key, market = SeriesKey(traded, config.bars), history.markets[traded].named(symbol)
        bars = history.series(key)
        rows = (span or DateRange()).select(bars, market)
        plan = registry.plan(vector_ids(config, veto), key)
        return cls(
            config=config,
            history=history,
            registry=registry,
            market=market,
            traded=bars.rows(rows.start, rows.stop),
            rows=rows,
            source=BatchFeatures(plan, history, max_age=config.max_age.limits),
            veto=veto,
            strategy=strategy,
            on_bar=on_bar,
        )

    def lane(self, recorder: MemoryRecorder, *, factor: float = 1.0) -> Lane:
        """Return the lane that trades the run in Backtrader; `factor` multiplies the amount of its sizes."""
        clock = self._clock
        clock.prepare(self.traded.end)
        return Lane(
            feed=bars_feed(self.traded, name=self.market.instrument.symbol),
            market=self.market,
            config=self.config,
            source=self.source,
            clock=clock,
            recorder=recorder,
            veto=self.veto,
            factor=factor,
            on_bar=self.on_bar,
        )

    def result(
        self,
        records: RunRecords,
        engine: Engine,
        *,
        seed: int,
        model: Mapping[str, Any] | None,
        files: Sequence[ReadFile],
        portfolio: Mapping[str, str] | None = None,
    ) -> BacktestResult:
        """Return what was recorded, with everything that it depends on; see `provenance`."""
        plan = self.source.plan
        content = provenance(
            config=self.config,
            instrument=self.market.instrument,
            inputs={each: self.history.series(each) for each in source_keys(plan, self.history.markets)},
            fingerprints={each: self.registry.fingerprint(each) for each in plan.ids},
            traded=self.traded,
            seed=seed,
            model=model,
            portfolio=portfolio,
        )
        return BacktestResult(
            config=self.config,
            market=self.market,
            bars=self.traded,
            records=records,
            vector_ids=plan.ids,
            files=tuple(files),
            provenance=by_engine(content, engine),
        )

    def records(self, engine: Engine) -> RunRecords:
        """Run an engine and return what it wrote down."""
        return self.compiled() if engine == COMPILED else self._backtrader()

    def require_agreement(self, records: RunRecords, engine: Engine) -> None:
        """Run the other engine; EngineMismatch where its records differ."""
        other = self.records(BACKTRADER if engine == COMPILED else COMPILED)
        compiled, referee = (records, other) if engine == COMPILED else (other, records)
        difference = first_difference(compiled, referee, self.source.plan.ids)
        if difference:
            raise EngineMismatch(
                f"{self.market.instrument.symbol} {self.config.name}: {difference}; nothing is written. "
                "Believe Backtrader (--engine backtrader), and report the strategy and the bars"
            )

    @property
    def _clock(self) -> SessionClock:
        return SessionClock.of(self.market, self.config)

    def _backtrader(self) -> RunRecords:
        recorder = MemoryRecorder()
        build_cerebro([self.lane(recorder)], self.strategy).run()
        return RunRecords.of(recorder)

    def compiled(self, admitted: Admitted | None = None, *, factor: float = 1.0) -> RunRecords:
        """Run the compiled engine: as what a portfolio `admitted`, `factor` as in `lane`."""
        return CompiledRun(
            bars=self.traded,
            market=self.market,
            rules=DecisionRules.of(self.config, self.market, self.veto, self.source.plan.ids, factor=factor),
            source=self.source,
            values=self.source.matrix[self.rows],
            clock=self._clock.readings(self.traded.end),
            admitted=admitted or Admitted.alone(),
            on_bar=self.on_bar,
        ).records()
