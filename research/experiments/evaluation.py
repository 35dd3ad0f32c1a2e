"""What an experiment evaluates with: bars, hashes, and the sweep behind one small door."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lockstep.errors import ClusterError, FeatureError, LockstepError
from lockstep.features.derived import is_derived
from lockstep.features.feature_registry import default_registry
from lockstep.identity import TRIALS, code_hash, hash_of, with_used
from lockstep.market.bars import Floats
from lockstep.market.config import InstrumentBook
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.loader import load_history
from lockstep.strategy.config import StrategyConfig, ids_read_by
from research.experiments.plan import Plan
from research.statistics.maximum import SKETCH
from research.sweep.behaviour import behaviours
from research.sweep.run import SweepResult, sweep
from research.sweep.variants import Variants

OnDone = Callable[[Any, SweepResult], None]


class Evaluator(Protocol):
    """Runs variants over a history; `research.sweep.run.sweep` is one."""

    def __call__(
        self,
        configs: Sequence[StrategyConfig],
        history: History,
        symbol: str,
        *,
        span: DateRange | None = None,
        on_done: OnDone | None = None,
    ) -> SweepResult:
        """Return the measures of every configuration; `on_done` hears of parts as they finish."""


DEFAULT_EVALUATOR: Evaluator = sweep


def on_cluster(address: str | None) -> Evaluator:
    """Return the sweep, on the workers of a Dask scheduler (`tcp://host:8786`) where an address is given."""
    return DEFAULT_EVALUATOR if address is None else functools.partial(sweep, cluster=address)


@dataclass(frozen=True, kw_only=True)
class Data:
    """The bars of one symbol of an experiment: `hash` (SHA-256, hex) names them all, context included."""

    symbol: str
    family: str
    history: History
    hash: str

    def bars_in(self, config: StrategyConfig, dates: DateRange) -> int:
        """Return the number of bars of the traded series in a range; NoBars where there is none."""
        bars = self.history.series(SeriesKey(self.symbol, config.bars))
        rows = dates.select(bars, self.history.markets[self.symbol])
        return int(rows.stop) - int(rows.start)


@dataclass(frozen=True, kw_only=True)
class VariantOutcome:
    """What became of some variants: measures by name, and as in `SweepResult` (n, …) each.

    ones       float64 (256,); calendar: weeks of a block and number of the first; None where all failed
    errors     by row; rows of variants that failed hold NaN and zeros
    """

    metrics: dict[str, Floats]
    blocks: Floats
    timing: Floats
    sketch: Floats
    errors: dict[int, str]
    ones: Floats | None = None
    calendar: tuple[int, int] | None = None


def code_of(plan: Plan) -> str:
    """Return the hash of the code that decides in the variants of a plan, with the features they read."""
    configs = plan.space.readers(plan.reachable)
    return trial_code(each for config in configs for each in config.feature_ids)


def trial_code(feature_ids: Iterable[str]) -> str:
    """Return the hash of the code that decides in a trial that reads some features.

    An edit of a report makes no new trial of an old one; nor does one of a feature that nobody reads, or of
    what asks models where no id is a model's. Unknown ids are left out: what reads them fails.
    """
    registry, used = default_registry(), {}
    for each in feature_ids:
        with suppress(FeatureError):
            used[f"feature {each}"] = registry.fingerprint(each)
        if is_derived(each):
            used["models"] = _asking_models()
    return with_used(code_hash(TRIALS), used)


@functools.cache
def _asking_models() -> str:
    return hash_of(["lockstep.models.model_column"])


def load_data(plan: Plan, book: InstrumentBook, family: str, symbol: str, last: DateRange) -> Data:
    """Return the bars that any variant of a plan reads on a symbol, none of them after the end of `last`."""
    found: dict[SeriesKey, None] = {}
    seen = set()
    for config in plan.space.readers(plan.reachable):
        if config.feature_ids not in seen:
            seen.add(config.feature_ids)
            found |= dict.fromkeys(_context(config, book, symbol))
    history = load_history(
        symbol,
        None if plan.data_dir is None else Path(plan.data_dir),
        timeframe=plan.strategy.bars,
        context=found,
        end=last.end,
        book=book,
        source=plan.source,
    )
    return Data(symbol=symbol, family=family, history=history, hash=data_hash(history, symbol))


def _context(config: StrategyConfig, book: InstrumentBook, symbol: str) -> tuple[SeriesKey, ...]:
    # It comes with Backtrader, which a sweep does without.
    from research.backtest.run import context_keys

    try:
        return context_keys(config, book.markets, symbol)
    except LockstepError:
        # The variant fails by itself later, and is counted; the others need not.
        return ()


def data_hash(history: History, symbol: str) -> str:
    """Return the SHA-256 (hex) of all bars, instruments and sessions that a run on `symbol` can read."""
    digest = hashlib.sha256(symbol.encode())
    for key, bars in sorted(history.bars.items()):
        digest.update(f"{key} {bars.content_hash} {bars.adjustment}".encode())
    for name in sorted({key.symbol for key in history.bars}):
        digest.update(history.markets[name].instrument.model_dump_json().encode())
        digest.update(history.markets[name].session.template.model_dump_json().encode())
    return digest.hexdigest()


def behaviour_hashes(configs: Variants, data: Data, dates: DateRange) -> list[str] | None:
    """Return a hash of all that decides what each configuration does on one range.

    Equal where signals, stops and the like are, on the same bars with the same code. None where it is not
    known what a configuration does before it is run: see `research/sweep/behaviour.py`.
    """
    try:
        found = behaviours(configs, data.history, data.symbol, span=dates)
    except LockstepError:
        # Whoever is refused is found when they are run.
        return None
    if found is None:
        return None
    sized, rows = configs.different(_SIZED)
    ids = [_sized_by(configs[row]) for row in rows.tolist()]
    code = {each: trial_code(each) for each in set(ids)}
    where = "\n".join((data.symbol, data.hash, str(dates)))
    before = [hashlib.sha256(f"{code[each]}\n{where}\n".encode()) for each in ids]
    return [_continued(before[number], does) for number, does in zip(sized.tolist(), found, strict=True)]


_SIZED = ("stop", "target", "size")


def _continued(before: Any, text: str) -> str:
    digest = before.copy()
    digest.update(text.encode())
    return str(digest.hexdigest())


def _sized_by(config: StrategyConfig) -> tuple[str, ...]:
    """Return the ids whose values decide how far a stop is and how large a position; signals are bits."""
    return tuple(each for field in _SIZED for each in ids_read_by(getattr(config, field)))


def evaluate(
    configs: Sequence[StrategyConfig],
    data: Data,
    dates: DateRange,
    evaluator: Evaluator,
    advance: Callable[[int], None] = lambda _: None,
    *,
    careful: bool = False,
) -> VariantOutcome:
    """Run `configs` over one range; those that the evaluator refuses fail alone, with its reason.

    ClusterError where the machines that evaluate are gone.

    `careful` looks for unknown ids first: what is refused is found by halving, which should be quick.
    """
    heard = 0

    def on_done(_: Any, part: SweepResult) -> None:
        nonlocal heard
        heard += len(part.blocks)
        advance(len(part.blocks))

    try:
        if careful:
            _require_features(configs, data)
        result = evaluator(configs, data.history, data.symbol, span=dates, on_done=on_done)
    except ClusterError:
        # Says nothing about the variants: none of them has failed.
        raise
    except LockstepError as error:
        advance(-heard)
        if len(configs) == 1:
            advance(1)
            return _failed(str(error))
        half = len(configs) // 2
        first = evaluate(configs[:half], data, dates, evaluator, advance, careful=True)
        second = evaluate(configs[half:], data, dates, evaluator, advance, careful=True)
        return _joined(first, second, half)
    return VariantOutcome(
        metrics=result.metrics,
        blocks=result.blocks,
        timing=result.timing,
        sketch=result.sketch,
        errors={},
        ones=result.ones,
        calendar=(result.block_weeks, result.first_block),
    )


def _require_features(configs: Sequence[StrategyConfig], data: Data) -> None:
    """Raise UnknownFeature where there is an unknown id."""
    registry = default_registry()
    for ids in {config.feature_ids for config in configs}:
        registry.plan(ids, SeriesKey(data.symbol, configs[0].bars))


def _failed(reason: str) -> VariantOutcome:
    return VariantOutcome(
        metrics={},
        blocks=np.zeros((1, 16, 3)),
        timing=np.zeros((1, 5)),
        sketch=np.zeros((1, SKETCH)),
        errors={0: reason},
    )


def _joined(first: VariantOutcome, second: VariantOutcome, rows: int) -> VariantOutcome:
    names = first.metrics.keys() | second.metrics.keys()
    sizes = (len(first.blocks), len(second.blocks))
    parts = [(first.metrics, sizes[0]), (second.metrics, sizes[1])]
    return VariantOutcome(
        metrics={
            name: np.concatenate([found.get(name, np.full(size, np.nan)) for found, size in parts])
            for name in sorted(names)
        },
        blocks=np.concatenate((first.blocks, second.blocks)),
        timing=np.concatenate((first.timing, second.timing)),
        sketch=np.concatenate((first.sketch, second.sketch)),
        errors=first.errors | {row + rows: reason for row, reason in second.errors.items()},
        ones=second.ones if first.ones is None else first.ones,
        calendar=first.calendar or second.calendar,
    )
