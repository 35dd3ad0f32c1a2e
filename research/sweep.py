"""The compiled twin of the backtest: very many variants of a strategy in one pass.

Features are computed once; then each variant runs through the same `decide` and `match` that Backtrader
calls bar by bar, in compiled loops that share no rule with anything but those. Trades and equity are equal
to `run_backtest`, bit for bit (`tests/contract/test_sweep_equality.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np

from lockstep.errors import ConfigError
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.bars import Floats, Stamps
from lockstep.market.history import History, SeriesKey
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.config import ACCEPT_ALL, StrategyConfig
from lockstep.strategy.ibs_decision import IbsConfig
from research.backtest import Span
from research.sweep_kernels import BLOCKS, FILL_COLUMNS, MEASURES, SKETCH
from research.sweep_loops import loops
from research.sweep_measures import measures_of
from research.sweep_variants import VariantGroup, group_variants
from research.sweep_veto import Chances
from research.workers import workers

CHUNK = 1_000
_SKETCH_SEED = 20_240_101


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """What V variants did; row v belongs to the v-th configuration that was asked for.

    metrics   by name, float64 (V,): the measures of `lockstep.metrics` that a sweep keeps
    blocks    float64 (V, 16, 3): per time block the sum of session returns, of their squares, the sessions
    sketch    float64 (V, 64): each session's return added to one of 64 sums with a fixed random sign. The
              scalar product of two sketches estimates that of the two return series without bias; its
              standard error is at most sqrt(2 / 64) = 18 % of the product of their lengths
    """

    metrics: dict[str, Floats]
    blocks: Floats
    sketch: Floats


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Every fill and the equity of one variant; see `sweep_kernels` for the columns of a fill."""

    fills: Floats
    equity: Floats


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """What all variants of a group read; plain arrays, so that a cluster can be sent them once."""

    values: Floats
    probability: Floats
    clock: Floats
    bars: Floats
    session: Stamps
    block: Stamps
    bucket: Stamps
    sign: Floats
    costs: tuple[float, float, float, float]
    capital: float

    def arguments(self) -> tuple[Any, ...]:
        return (
            self.values, self.probability, self.clock, self.bars, self.session, self.block, self.bucket,
            self.sign, self.costs, self.capital,
        )  # fmt: skip


def sweep(
    configs: Sequence[IbsConfig],
    history: History,
    symbol: str,
    *,
    span: Span | None = None,
    jobs: int = -1,
    on_done: Callable[[Sequence[int], SweepResult], None] | None = None,
    chunk: int = CHUNK,
    cluster: str | None = None,
    registry: FeatureRegistry | None = None,
) -> SweepResult:
    """Run every configuration over the history and return its measures.

    jobs      threads; -1 for one per core
    cluster   address of a Dask scheduler, `tcp://host:8786`, whose workers take the place of threads
    on_done   called as chunks finish, in order, with the positions of their variants and their results
    chunk     variants per piece of work; memory grows with it and not with the number of variants

    All configurations decide on one timeframe. ConfigError where they do not, or where one asks for what
    the sweep cannot do: nothing is approximated.
    """
    require_expressible(configs)
    prepared = _Prepared(history, symbol, configs[0], span or Span(), registry or default_registry())
    result = _empty(len(configs))
    for group in prepared.groups(configs):
        inputs = prepared.inputs(group)
        pieces = _pieces(len(group.positions), chunk)
        tasks = (joblib.delayed(_evaluate)(group, inputs, first, stop) for first, stop in pieces)
        with workers(jobs, cluster) as run:
            for (first, stop), (raw, blocks, sketch) in zip(pieces, run(tasks), strict=True):
                positions = group.positions[first:stop]
                part = prepared.result(raw, blocks, sketch, group.config.capital)
                _put(result, positions, part)
                if on_done is not None:
                    on_done(positions, part)
    return result


def trace(
    config: IbsConfig,
    history: History,
    symbol: str,
    *,
    span: Span | None = None,
    chances: Chances | None = None,
    registry: FeatureRegistry | None = None,
) -> Trace:
    """Run one configuration and return all its fills and its equity at every bar.

    chances   the answers of a model whose veto the entries need; see `sweep_veto.py`
    """
    require_expressible([config])
    if chances is not None:
        config = chances.widened(config)
    prepared = _Prepared(history, symbol, config, span or Span(), registry or default_registry())
    (group,) = prepared.groups([config], chances.threshold if chances else ACCEPT_ALL)
    inputs = prepared.inputs(group, chances)
    bars = inputs.bars.shape[0]
    fills, curve = np.empty((2 * bars + 2, FILL_COLUMNS)), np.empty(bars)
    outputs = (np.zeros(MEASURES), np.zeros((BLOCKS, 2)), np.zeros(SKETCH))
    count = loops(group.shape).trace(0, group.parameters, *inputs.arguments(), *outputs, fills, curve)
    return Trace(fills=fills[:count], equity=curve)


def require_expressible(configs: Sequence[StrategyConfig]) -> None:
    """Raise ConfigError, naming the configuration, unless the sweep runs each as Backtrader would."""
    if not configs:
        raise ConfigError("nothing to sweep: give at least one configuration")
    for config in configs:
        if not isinstance(config, IbsConfig):
            raise ConfigError(
                f"{config.name}: the sweep's loop is compiled for IbsConfig; backtest it instead"
            )
        if config.timeframe != configs[0].timeframe:
            raise ConfigError(
                f"{config.name}: timeframe {config.timeframe} beside {configs[0].timeframe}; sweep them apart"
            )


def _evaluate(group: VariantGroup, inputs: _Inputs, first: int, stop: int) -> tuple[Floats, Floats, Floats]:
    """Run variants first <= v < stop of a group; returns raw measures, block sums and sketches."""
    count = stop - first
    outputs = (np.zeros((count, MEASURES)), np.zeros((count, BLOCKS, 2)), np.zeros((count, SKETCH)))
    loops(group.shape).evaluate(first, stop, group.parameters, *inputs.arguments(), *outputs)
    return outputs


def _pieces(count: int, chunk: int) -> list[tuple[int, int]]:
    return [(first, min(first + chunk, count)) for first in range(0, count, chunk)]


class _Prepared:
    """Bars, sessions and features of one sweep, computed once."""

    def __init__(
        self, history: History, symbol: str, config: StrategyConfig, span: Span, registry: FeatureRegistry
    ) -> None:
        self._history = history
        self._registry = registry
        self._key = SeriesKey(symbol, config.bars)
        self._market = history.markets[symbol]
        bars = history.series(self._key)
        self._rows = span.select(bars, self._market)
        self._bars = bars.rows(self._rows.start, self._rows.stop)
        dates = self._market.session.dates(self._bars.end, self._bars.timeframe)
        self._session = np.concatenate(([0], np.cumsum(dates[1:] != dates[:-1]))).astype(np.int64)
        self._sessions = int(self._session[-1]) + 1
        self._clocks: dict[str | None, Floats] = {}
        random = np.random.default_rng(_SKETCH_SEED)
        self._bucket = random.integers(0, SKETCH, self._sessions)
        self._sign = random.choice((-1.0, 1.0), self._sessions)
        self._block = np.arange(self._sessions) * BLOCKS // self._sessions

    def groups(self, configs: Sequence[StrategyConfig], threshold: float = ACCEPT_ALL) -> list[VariantGroup]:
        always_open = bool(self._clock(None)[:, 0].all())
        return group_variants(configs, self._market, always_open=always_open, threshold=threshold)

    def _clock(self, auto_close: str | None) -> Floats:
        """Return the readings at every bar, float64 (n, 3)."""
        if auto_close not in self._clocks:
            clock = SessionClock(self._market.session, self._bars.timeframe, auto_close)
            self._clocks[auto_close] = clock.readings(self._bars.end)
        return self._clocks[auto_close]

    def inputs(self, group: VariantGroup, chances: Chances | None = None) -> _Inputs:
        config = group.config
        plan = self._registry.plan(config.feature_ids, self._key)
        features = BatchFeatures(plan, self._history, max_age=config.max_age.limits)
        prices = (self._bars.open, self._bars.high, self._bars.low, self._bars.close)
        return _Inputs(
            values=np.ascontiguousarray(features.matrix[self._rows]),
            probability=chances.over(self._rows, len(features.end)) if chances else np.ones(1),
            clock=self._clock(config.auto_close),
            bars=np.column_stack(prices),
            session=self._session,
            block=self._block,
            bucket=self._bucket,
            sign=self._sign,
            costs=self._market.instrument.costs,
            capital=config.capital,
        )

    def result(self, raw: Floats, blocks: Floats, sketch: Floats, capital: float) -> SweepResult:
        counts = np.bincount(self._block, minlength=BLOCKS).astype(np.float64)
        complete = np.concatenate((blocks, np.broadcast_to(counts[:, None], (len(raw), BLOCKS, 1))), axis=2)
        metrics = measures_of(
            raw,
            sessions=self._sessions,
            bars=len(self._bars),
            capital=capital,
            sessions_per_year=self._market.session.template.sessions_per_year,
        )
        return SweepResult(metrics=metrics, blocks=complete, sketch=sketch)


def _empty(count: int) -> SweepResult:
    return SweepResult(metrics={}, blocks=np.zeros((count, BLOCKS, 3)), sketch=np.zeros((count, SKETCH)))


def _put(result: SweepResult, positions: Sequence[int], part: SweepResult) -> None:
    """Write the rows of a chunk where its configurations stand in the list that was asked for."""
    rows = np.array(positions)
    for name, values in part.metrics.items():
        whole = result.metrics.setdefault(name, np.full(len(result.blocks), np.nan))
        whole[rows] = values
    result.blocks[rows] = part.blocks
    result.sketch[rows] = part.sketch
