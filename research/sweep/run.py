"""The compiled twin of the backtest: very many variants of a strategy in one pass.

Features are computed once; then each variant runs through the same `decide` and `match` that Backtrader
calls bar by bar, in compiled loops that share no rule with anything but those. Trades and equity are equal
to `run_backtest`, bit for bit (`tests/contract/test_sweep_equality.py`).

Where pieces of work run: threads of this process, or a Dask cluster, both through joblib.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np

from lockstep.errors import ConfigError
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.market.bars import Floats
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.metrics.sums import summary_of_sums
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import family_of
from research.statistics.maximum import SKETCH
from research.sweep.account import BLOCKS, TIMING, sums_of
from research.sweep.cluster import scheduler_at
from research.sweep.inputs import Chances, Prepared, Shift
from research.sweep.loops import Each
from research.sweep.variants import Integers, Variants
from research.sweep.work import Work, evaluated, traced, work_on

Run = Callable[[Iterable[Any]], Iterator[Any]]


@dataclass(frozen=True, kw_only=True)
class Workers:
    """`run` carries out joblib's delayed calls, `count` at a time, and gives back their results in order.

    each   like `map`, in threads that see the caller's memory; None where the work is done elsewhere
    """

    run: Run
    count: int
    each: Each | None


@contextmanager
def workers(jobs: int, cluster: str | None = None) -> Iterator[Workers]:
    """Yield workers.

    jobs      threads, -1 for one per core; compiled loops run beside each other in threads
    cluster   address of a Dask scheduler; ClusterError where Dask is not installed or nobody answers.
              A piece whose worker dies is run again by another one; each result is given back once
    """
    if cluster is None:
        count = joblib.effective_n_jobs(jobs)
        # Not joblib's own threads: its generator looks for results every 10 ms, a whole sweep may take 20.
        with ThreadPoolExecutor(count) as pool:
            yield Workers(run=lambda tasks: pool.map(_call, tasks), count=count, each=pool.map)
        return
    with scheduler_at(cluster) as scheduler:
        yield Workers(run=scheduler.run, count=scheduler.count, each=None)


def _call(task: Any) -> Any:
    """Carry out one of joblib's delayed calls."""
    function, arguments, named = task
    return function(*arguments, **named)


CHUNK = 1_000


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """What V variants did; row v belongs to the v-th configuration that was asked for.

    metrics   by name, float64 (V,): the measures of `lockstep.metrics` that a sweep keeps
    blocks    float64 (V, 16, 3): per time block the sum of session returns, of their squares, the sessions
    block_weeks, first_block   weeks of a block, and the number of the first, see `inputs.CalendarBlocks`
    timing    float64 (V, 5): sums over the sessions of x, x^2, x^3, x^4, and beta. x = r - beta m is what the
              return r has beyond that of a constant position: m the return of one unit of exposure to the
              instrument, beta the variant's mean signed exposure over the bars, in units of its capital
    sketch    float64 (V, 256): of x, not centred, see `maximum.sketch_of`. The scalar product of two sketches
              estimates that of the two series without bias; its standard error is at most sqrt(2 / 256) = 9 %
              of the product of their lengths
    ones      float64 (256,): the sketch of 1 over the same sessions, which centres the others
    """

    metrics: dict[str, Floats]
    blocks: Floats
    block_weeks: int
    first_block: int
    timing: Floats
    sketch: Floats
    ones: Floats


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Every fill and the equity of one variant; see `kernels` for the columns of a fill."""

    fills: Floats
    equity: Floats


def sweep(
    configs: Sequence[StrategyConfig],
    history: History,
    symbol: str,
    *,
    span: DateRange | None = None,
    jobs: int = -1,
    on_done: Callable[[Integers, SweepResult], None] | None = None,
    chunk: int = CHUNK,
    cluster: str | None = None,
    registry: FeatureRegistry | None = None,
    shift: Shift | None = None,
) -> SweepResult:
    """Run every configuration over the history and return its measures.

    configs   a list, or `Variants`, which need no object for each
    jobs      threads; -1 for one per core
    cluster   address of a Dask scheduler, `tcp://host:8786`, whose workers take the place of threads
    on_done   called as pieces of work finish, with the positions of their variants and their results
    chunk     most variants per piece of work; memory grows with it and not with the number of variants
    shift     move the decision vectors against the bars: what the rules would do without skill

    All configurations are of one family and decide on one timeframe. ConfigError where they do not, or where
    one asks for what the sweep cannot do: nothing is approximated.
    """
    require_expressible(configs)
    variants = Variants.of(configs)
    prepared = Prepared(
        history, symbol, variants[0], span or DateRange(), registry or default_registry(), shift
    )
    result = _empty(len(variants), prepared)
    with workers(jobs, cluster) as hands:
        found = work_on(variants, prepared, chunk=chunk, workers=hands.count, each=hands.each)
        for inputs, work, entries in found:
            tasks = (joblib.delayed(evaluated)(piece, inputs, entries) for piece in work)
            for piece, sums in zip(work, hands.run(tasks), strict=True):
                part = _result(prepared, piece, *sums)
                _put(result, piece.positions, part)
                if on_done is not None:
                    on_done(piece.positions, part)
    return result


def trace(
    config: StrategyConfig,
    history: History,
    symbol: str,
    *,
    span: DateRange | None = None,
    chances: Chances | None = None,
    registry: FeatureRegistry | None = None,
    shift: Shift | None = None,
) -> Trace:
    """Run one configuration and return all its fills and its equity at every bar.

    chances   the answers of a model whose veto the entries need; see `inputs.py`
    shift     as for a sweep
    """
    require_expressible([config])
    if chances is not None:
        config = chances.widened(config)
    prepared = Prepared(history, symbol, config, span or DateRange(), registry or default_registry(), shift)
    fills, equity = traced(config, prepared, chances)
    return Trace(fills=fills, equity=equity)


def require_expressible(configs: Sequence[StrategyConfig]) -> None:
    """Raise ConfigError, naming the configuration, unless the sweep runs each as Backtrader would."""
    if not configs:
        raise ConfigError("nothing to sweep: give at least one configuration")
    family = family_of(configs[0])
    if isinstance(configs, Variants):
        return
    for config in configs:
        if family_of(config) is not family:
            raise ConfigError(f"{config.name}: family {config.family} beside {family.name}; sweep them apart")
        if config.timeframe != configs[0].timeframe:
            raise ConfigError(
                f"{config.name}: timeframe {config.timeframe} beside {configs[0].timeframe}; sweep them apart"
            )


def _empty(count: int, prepared: Prepared) -> SweepResult:
    return SweepResult(
        metrics={},
        blocks=np.zeros((count, BLOCKS, 3)),
        block_weeks=prepared.ground.blocks.weeks,
        first_block=prepared.ground.blocks.first,
        timing=np.zeros((count, TIMING.stop - TIMING.start)),
        sketch=np.zeros((count, SKETCH)),
        ones=prepared.ground.ones,
    )


def _result(prepared: Prepared, piece: Work, measures: Floats, blocks: Floats, sketch: Floats) -> SweepResult:
    sessions = np.diff(prepared.ground.blocks.edges).astype(np.float64)
    counts = np.broadcast_to(sessions[:, None], (len(blocks), BLOCKS, 1))
    metrics = summary_of_sums(
        sums_of(measures), scale=prepared.ground.scale, bars=prepared.bars, capital=piece.capital
    )
    return SweepResult(
        metrics=metrics,
        blocks=np.concatenate((blocks, counts), axis=2),
        block_weeks=prepared.ground.blocks.weeks,
        first_block=prepared.ground.blocks.first,
        timing=measures[:, TIMING],
        sketch=sketch,
        ones=prepared.ground.ones,
    )


def _put(result: SweepResult, rows: Integers, part: SweepResult) -> None:
    """Write the rows of a piece where its configurations stand in the list that was asked for."""
    for name, values in part.metrics.items():
        whole = result.metrics.setdefault(name, np.full(len(result.blocks), np.nan))
        whole[rows] = values
    result.blocks[rows] = part.blocks
    result.timing[rows] = part.timing
    result.sketch[rows] = part.sketch
