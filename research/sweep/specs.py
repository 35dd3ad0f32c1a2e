"""The sweep of specs: variants of a family with `Signals`, whatever they read, in a few compiled loops.

Nothing is compiled for a spec. What its conditions say at all bars is worked out first (`signals`), block by
block over the columns of all ids that any of the variants reads; then a variant goes from entry to entry in
the loops of `kernels` and `account`, whose `decide` is what the family's own `decide` is made of.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from types import ModuleType
from typing import Any, Self

import numpy as np

from lockstep.compiled import generated_module
from lockstep.floats import require_exact
from lockstep.market.bars import Floats
from lockstep.market.history import Market
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import Family, family_of
from research.statistics.maximum import SKETCH
from research.sweep.account import BLOCKS, MEASURES
from research.sweep.inputs import Inputs
from research.sweep.kernels import FILL_COLUMNS, OUTCOME
from research.sweep.signals import PROGRAMS, Places, words_of
from research.sweep.variants import Integers, Variants

# Variants whose signals are worked out beside each other: what a block holds of all columns is read once for
# all of them, and their signals stay near the processor until they are traded.
BATCH = 64

# Fields by which variants are told apart that another loop, another clock or another account would run.
_APART = ("auto_close", "window", "execution", "capital", "max_age", "stop", "target")


@dataclass(frozen=True, kw_only=True)
class SpecLoop:
    """Which compiled loop variants run in.

    family      name of their family; code: its fingerprint and module
    protected   there are stops or targets
    """

    family: str
    code: str
    at_close: bool
    always_open: bool
    protected: bool

    @property
    def name(self) -> str:
        """Return a short name that is the same for equal loops."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Specs:
    """V specs as arrays. What is ragged lies in one array, that of spec v in `[at[v], at[v + 1])`.

    rules     float64, as of `decide`, with the programs; bounds: int64 (V, 5), where these begin and end
    columns   int64: rows of the features that hold the spec's vector
    filters   float64, as of `decide`
    sizing    float64 (V, 5), see `sizing.contracts`; exits: float64 (V, 6), see `sizing.entry_order`
    """

    rules: Floats
    rules_at: Places
    bounds: Places
    columns: Places
    columns_at: Places
    filters: Floats
    filters_at: Places
    sizing: Floats
    exits: Floats

    def __len__(self) -> int:
        return len(self.sizing)

    @classmethod
    def of(
        cls, configs: Sequence[StrategyConfig], market: Market, row: dict[str, int], threshold: float
    ) -> Self:
        """Pack configurations of one family; `row` says where the features of each id are."""
        signals = family_of(configs[0]).signals
        assert signals is not None
        rules = [config.rules(market.session, threshold) for config in configs]
        columns = [[row[each] for each in config.feature_ids] for config in configs]
        filters = [config.filter_rules() for config in configs]
        return cls(
            rules=np.concatenate(rules),
            rules_at=_starts(rules),
            bounds=np.array([signals.programs(each) for each in rules], dtype=np.int64),
            columns=np.fromiter(chain.from_iterable(columns), dtype=np.int64),
            columns_at=_starts(columns),
            filters=np.concatenate(filters),
            filters_at=_starts(filters),
            sizing=np.array([config.sizing_rules(market.instrument) for config in configs], dtype=np.float64),
            exits=np.array([config.exit_rules() for config in configs], dtype=np.float64),
        )

    def part(self, first: int, last: int) -> Self:
        """Return the specs first <= v < last."""
        rows = {name: getattr(self, name)[first:last] for name in ("bounds", "sizing", "exits")}
        for name in ("rules", "columns", "filters"):
            at = getattr(self, f"{name}_at")[first : last + 1]
            rows |= {name: getattr(self, name)[at[0] : at[-1]], f"{name}_at": at - at[0]}
        return type(self)(**rows)

    @property
    def arrays(self) -> tuple[Any, ...]:
        """All of them, in the order in which the loops take them."""
        return tuple(getattr(self, each.name) for each in fields(self))


def _starts(parts: Sequence[Any]) -> Places:
    return np.concatenate(([0], np.cumsum([len(each) for each in parts]))).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class SpecPiece:
    """Some specs that run in one loop; `positions` says where they stand in the list that was asked for."""

    loop: SpecLoop
    capital: float
    positions: Integers
    specs: Specs

    @classmethod
    def parts(
        cls, loop: SpecLoop, capital: float, positions: Integers, specs: Specs, size: int
    ) -> list[Self]:
        """Return pieces of at most `size` specs."""
        cuts = [(first, min(first + size, len(specs))) for first in range(0, len(specs), size)]
        return [
            cls(loop=loop, capital=capital, positions=positions[slice(*cut)], specs=specs.part(*cut))
            for cut in cuts
        ]


def apart(variants: Variants) -> Iterator[Integers]:
    """Yield the rows of variants that have one loop, one clock and one capital."""
    place, rows = variants.different(_APART)
    numbers: dict[object, int] = {}
    kind = [numbers.setdefault(_kind(variants[row]), len(numbers)) for row in rows.tolist()]
    of_variant = np.array(kind)[place]
    for number in numbers.values():
        yield np.flatnonzero(of_variant == number)


def _kind(config: StrategyConfig) -> object:
    return (
        config.auto_close, config.window is None, config.execution, config.capital, repr(config.max_age),
        config.stop is None and config.target is None,
    )  # fmt: skip


def loop_of(config: StrategyConfig, family: Family, *, always_open: bool) -> SpecLoop:
    """Return the loop that a configuration runs in; `always_open`: every bar is in session."""
    return SpecLoop(
        family=family.name,
        code=f"{family.fingerprint} in {family.config.__module__}",
        at_close=config.execution == "close",
        always_open=always_open and config.window is None and config.auto_close is None,
        protected=config.stop is not None or config.target is not None,
    )


_TEMPLATE = '''"""Generated: the sweep's loops for specs of one family; see research/sweep/specs.py."""

import math

import numpy as np

from lockstep.compiled import inlined, kernel
from lockstep.strategy.family import family_named
from research.sweep import account, kernels, signals
from research.sweep.account import draw, sum_sessions
from research.sweep.kernels import NO_FILTER, OUTCOME
from research.sweep.signals import LONG_ENTRY, LONG_EXIT, SHORT_ENTRY, SHORT_EXIT, is_set, signals_of

hold = inlined(kernels.hold)
next_entry = inlined(signals.next_entry)
settle = inlined(account.settle)
# Of the family with the fingerprint {code}.
acts = family_named({family!r}, where="sweep").signals
enter = acts.enter
leave = acts.leave
NAN = math.nan


@kernel
def row(values, i):
    """The signals of both exits, then what size, stop and target read."""
    features, long, short, size, stop, target = values
    return (
        1.0 if is_set(long, i) else 0.0, 1.0 if is_set(short, i) else 0.0,
        features[size, i], features[stop, i], features[target, i],
    )


@kernel
def decide(values, probability, clock, holding, rules, filters):
    return leave((values[0] if holding[0] > 0.0 else values[1]) != 0.0, clock, holding, rules)


@kernel
def sizing_of(p):
    return (p[0], p[1], 2.0, p[3], p[4])


@kernel
def exits_of(p):
    return (p[0], p[1], 3.0, p[3], p[4], 4.0) if {protected} else (NAN, 0.0, 3.0, NAN, 0.0, 4.0)


@kernel
def first_entry(spec, features, clock, i, n):
    signals, rules, filters, columns, sizing, exits, probability, vector, entries = spec
    return next_entry(
        enter, {always_open}, signals[LONG_ENTRY], signals[SHORT_ENTRY], rules, filters, columns, features,
        probability, clock, vector, i, n
    )


@kernel
def carry_out(spec, values, clock, bars, costs, entry, outcomes):
    """Carry out an entry, and look for the one that follows it."""
    signals, rules, filters, columns, sizing, exits, probability, vector, entries = spec
    following, _ = hold(
        decide, row, False, {at_close}, {always_open}, values, clock, bars, costs, rules, NO_FILTER,
        sizing_of(sizing), exits_of(exits), entry, outcomes, 0, outcomes
    )
    entries[following] = first_entry(spec, values[0], clock, following, bars.shape[0])
    return following


@kernel
def seen(features, columns, signals, sizing, exits):
    """What `row` reads."""
    size, stop, target = columns[int(sizing[2])], columns[int(exits[2])], columns[int(exits[5])]
    return (features, signals[LONG_EXIT], signals[SHORT_EXIT], size, stop, target)


@kernel
def evaluate(
    rules, rules_at, bounds, columns, columns_at, filters, filters_at, sizing, exits, features, probability,
    clock, bars, costs, session, marks, exposure, edges, market, bucket, sign, capital, signals, entries,
    following, outcomes, changes, measures, blocks, sketch
):
    n = bars.shape[0]
    signals_of(rules, rules_at, bounds, columns, columns_at, features, signals)
    for v in range(measures.shape[0]):
        own = columns[columns_at[v] : columns_at[v + 1]]
        spec = (
            signals[v], rules[rules_at[v] : rules_at[v + 1]], filters[filters_at[v] : filters_at[v + 1]], own,
            sizing[v], exits[v], probability, np.empty(own.size), entries
        )
        values = seen(features, own, signals[v], sizing[v], exits[v])
        following[:] = -1
        changes[:] = 0.0
        entries[0] = first_entry(spec, features, clock, 0, n)
        settle(
            carry_out, {at_close}, spec, values, clock, bars, session, marks, exposure, costs, capital,
            entries, following, outcomes, changes, measures[v]
        )
        sum_sessions(changes, capital, edges, market, bucket, sign, measures[v], blocks[v], sketch[v])


@kernel
def trace(
    rules, rules_at, bounds, columns, columns_at, filters, filters_at, sizing, exits, features, probability,
    clock, bars, costs, capital, signals, fills, curve
):
    n = bars.shape[0]
    signals_of(rules, rules_at, bounds, columns, columns_at, features, signals)
    spec = (
        signals[0], rules, filters, columns, sizing[0], exits[0], probability, np.empty(columns.size),
        np.empty(n + 1, np.int32)
    )
    values = seen(features, columns, signals[0], sizing[0], exits[0])
    outcomes = np.empty((2 * n, OUTCOME))
    stop, count, cash = 0, 0, capital
    entry = first_entry(spec, features, clock, 0, n)
    while entry != 2 * n:
        i, count = hold(
            decide, row, True, {at_close}, {always_open}, values, clock, bars, costs, rules, NO_FILTER,
            sizing_of(sizing[0]), exits_of(exits[0]), entry, outcomes, count, fills
        )
        stop, cash = draw(outcomes[entry], bars, costs, stop, cash, curve)
        entry = first_entry(spec, features, clock, i, n)
    curve[stop:] = cash
    return count
'''


@functools.cache
def compiled(loop: SpecLoop) -> ModuleType:
    """Return the compiled `evaluate` and `trace` of a loop, from the disk cache if they are there."""
    text = _TEMPLATE.format(**{each.name: getattr(loop, each.name) for each in fields(loop)})
    return generated_module("sweeps", loop.name, text)


def evaluate_specs(piece: SpecPiece, inputs: Inputs) -> tuple[Floats, Floats, Floats]:
    """Run the specs of a piece; returns measures (V, 18), block sums (V, 16, 2) and sketches (V, 256)."""
    require_exact()
    evaluate = compiled(piece.loop).evaluate
    bars, count = len(inputs.bars), len(piece.specs)
    measures, blocks, sketch = outputs = (
        np.zeros((count, MEASURES)), np.zeros((count, BLOCKS, 2)), np.zeros((count, SKETCH)),
    )  # fmt: skip
    signals = np.empty((min(count, BATCH), PROGRAMS, words_of(bars)), dtype=np.uint64)
    entries, following = np.empty(bars + 1, dtype=np.int32), np.empty(2 * bars, dtype=np.int32)
    outcomes, changes = np.empty((2 * bars, OUTCOME)), np.empty(inputs.marks.size)
    for first in range(0, count, BATCH):
        some = slice(first, min(first + BATCH, count))
        evaluate(
            *piece.specs.part(some.start, some.stop).arrays, inputs.values, inputs.probability, inputs.clock,
            inputs.bars, inputs.costs, inputs.session, inputs.marks, inputs.exposure, inputs.edges,
            inputs.market, inputs.bucket, inputs.sign, piece.capital, signals[: some.stop - some.start],
            entries, following, outcomes, changes, measures[some], blocks[some], sketch[some],
        )  # fmt: skip
    return outputs


def trace_spec(piece: SpecPiece, inputs: Inputs) -> tuple[Floats, Floats]:
    """Return the fills, float64 (fills, 6), and the equity at every bar, of the one spec of a piece."""
    bars = len(inputs.bars)
    signals = np.empty((1, PROGRAMS, words_of(bars)), dtype=np.uint64)
    fills, curve = np.empty((2 * bars + 2, FILL_COLUMNS)), np.empty(bars)
    count = compiled(piece.loop).trace(
        *piece.specs.arrays, inputs.values, inputs.probability, inputs.clock, inputs.bars, inputs.costs,
        piece.capital, signals, fills, curve,
    )  # fmt: skip
    return fills[:count], curve
