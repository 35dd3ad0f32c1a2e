"""The sweep of specs: variants of a family with `Signals`, whatever they read, in a few compiled loops.

Nothing is compiled for a spec. What its conditions say at all bars is worked out first (`signals`), block by
block over the columns of all ids that any of the variants reads; then a variant goes from entry to entry in
the loops of `kernels` and `account`, whose `decide` is what the family's own `decide` is made of.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any, Self

import numpy as np

from lockstep.compiled import generated_module
from lockstep.floats import require_exact
from lockstep.market.bars import Floats
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import Family
from research.statistics.maximum import SKETCH
from research.sweep.account import BLOCKS, MEASURES
from research.sweep.inputs import Inputs
from research.sweep.loops import desk
from research.sweep.packing import Specs
from research.sweep.variants import Integers, Variants

# Variants whose signals are worked out beside each other: what a block holds of all columns is read once for
# all of them, and their signals stay near the processor until they are traded.
BATCH = 64

# Fields by which variants are told apart that another loop, another clock or another account would run.
_APART = ("auto_close", "window", "execution", "capital", "max_age")


@dataclass(frozen=True, kw_only=True)
class SpecLoop:
    """Which compiled loop variants run in.

    family      name of their family; code: its fingerprint and module
    """

    family: str
    code: str
    at_close: bool
    always_open: bool

    @property
    def name(self) -> str:
        """Return a short name that is the same for equal loops."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


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
    )  # fmt: skip


def loop_of(config: StrategyConfig, family: Family, *, always_open: bool) -> SpecLoop:
    """Return the loop that a configuration runs in; `always_open`: every bar is in session."""
    return SpecLoop(
        family=family.name,
        code=f"{family.fingerprint} in {family.config.__module__}",
        at_close=config.execution == "close",
        always_open=always_open and config.window is None and config.auto_close is None,
    )


_TEMPLATE = '''"""Generated: the sweep's loops for specs of one family; see research/sweep/specs.py."""

import math

from lockstep.compiled import inlined, uncounted
from lockstep.strategy.family import family_named
from research.sweep import account, kernels, signals
from research.sweep.account import AFTER, sum_sessions
from research.sweep.kernels import NO_FILTER
from research.sweep.signals import LONG_EXIT, SHORT_EXIT, is_set

hold = inlined(kernels.hold)
next_entry = inlined(signals.next_entry)
NAN = math.nan
record = inlined(account.record)
settle = inlined(account.settle)
tabulate = inlined(kernels.tabulate)
# Of the family with the fingerprint {code}.
acts = family_named({family!r}, where="sweep").signals
enter = acts.enter
leave = acts.leave


@uncounted
def row(values, i):
    """What the exit's conditions say, then what size, stop, target and the size's regime read."""
    features, leaves, size, stop, target, regime = values
    return (
        1.0 if is_set(leaves, i) else 0.0, features[size, i], features[stop, i], features[target, i],
        features[regime, i]
    )


@uncounted
def decide(values, probability, clock, holding, rules, filters):
    return leave(values[0] != 0.0, clock, holding, rules)


@uncounted
def following_entry(spec, values, clock, i, n):
    signals, rules, columns, filters, read, sizing, exits, vector, probability, turn = spec
    return next_entry(
        enter, {always_open}, signals, rules, filters, columns, read, values, probability, clock, vector, i, n
    )


@uncounted
def trade(recorded, spec, values, clock, bars, costs, entry, outcome, count, fills):
    signals, rules, columns, filters, read, sizing, exits, vector, probability, turn = spec
    leaves = signals[LONG_EXIT if entry < bars.shape[0] else SHORT_EXIT]
    by_regime = sizing[5] == sizing[5]
    regime = columns[int(sizing[5])] if by_regime else columns[0]
    seen = (values, leaves, columns[int(sizing[2])], columns[int(exits[2])], columns[int(exits[5])], regime)
    return hold(
        decide, row, recorded, {at_close}, {always_open}, seen, clock, bars, costs, rules, NO_FILTER,
        (
            sizing[0], sizing[1], 1.0, sizing[3], sizing[4], 4.0 if by_regime else NAN, sizing[6], sizing[7],
            sizing[8], sizing[9]
        ),
        (exits[0], exits[1], 2.0, exits[3], exits[4], 3.0), entry, outcome, count, fills
    )


@uncounted
def carry_out(spec, values, clock, bars, costs, entry, outcome):
    """Outcomes lie in two places in turn: no variant of a piece has another's trades."""
    following, _ = trade(False, spec, values, clock, bars, costs, entry, outcome, 0, bars)
    found = following_entry(spec, values, clock, following, bars.shape[0])
    if found == 2 * bars.shape[0]:
        return 2
    entries, links, place = spec[-1]
    place[0] = 1 - place[0]
    entries[place[0]] = found
    links[place[0], AFTER] = -1
    return place[0]


@inlined
def spec_of(
    v, signals, rules, rules_at, columns, columns_at, filters, filters_at, read, read_at, sizing, exits,
    room, probability, turn
):
    own = columns[columns_at[v] : columns_at[v + 1]]
    return (
        signals[v], rules[rules_at[v] : rules_at[v + 1]], own, filters[filters_at[v] : filters_at[v + 1]],
        read[read_at[v] : read_at[v + 1]], sizing[v], exits[v], room[: own.size], probability, turn
    )


@uncounted
def evaluate(
    signals, rules, rules_at, columns, columns_at, filters, filters_at, read, read_at, sizing, exits, room,
    features, probability, clock, bars, costs, session, marks, exposure, edges, market, bucket, sign, capital,
    entries, following, place, outcomes, booked, links, changes, progress, measures, blocks, sketch
):
    n = bars.shape[0]
    for v in range(measures.shape[0]):
        spec = spec_of(
            v, signals, rules, rules_at, columns, columns_at, filters, filters_at, read, read_at, sizing,
            exits, room, probability, (entries, links, place)
        )
        place[0] = 0
        entries[0] = following_entry(spec, features, clock, 0, n)
        following[0] = 0 if entries[0] < 2 * n else 2
        links[0, AFTER] = -1
        changes[:] = 0.0
        settle(
            carry_out, {at_close}, spec, features, clock, bars, session, marks, exposure, costs, capital,
            entries, following, 0, 2, outcomes, booked, links, changes, progress, measures[v]
        )
        sum_sessions(changes, capital, edges, market, bucket, sign, measures[v], blocks[v], sketch[v])


@uncounted
def recorded_trade(spec, values, clock, bars, costs, entry, outcome, count, fills):
    return trade(True, spec, values, clock, bars, costs, entry, outcome, count, fills)


@uncounted
def trace(
    signals, rules, rules_at, columns, columns_at, filters, filters_at, read, read_at, sizing, exits, room,
    features, probability, clock, bars, costs, capital, outcome, fills, curve
):
    spec = spec_of(
        0, signals, rules, rules_at, columns, columns_at, filters, filters_at, read, read_at, sizing, exits,
        room, probability, 0
    )
    return record(
        following_entry, recorded_trade, spec, features, clock, bars, costs, capital, outcome, fills, curve
    )


@uncounted
def fates(
    signals, rules, rules_at, columns, columns_at, filters, filters_at, read, read_at, sizing, exits, room,
    features, probability, clock, bars, costs, outcome, fills, table
):
    spec = spec_of(
        0, signals, rules, rules_at, columns, columns_at, filters, filters_at, read, read_at, sizing, exits,
        room, probability, 0
    )
    tabulate(following_entry, recorded_trade, spec, features, clock, bars, costs, outcome, fills, table)
'''


@functools.cache
def compiled(loop: SpecLoop) -> ModuleType:
    """Return the compiled functions of a loop, from the disk cache if they are there."""
    text = _TEMPLATE.format(**{each.name: getattr(loop, each.name) for each in fields(loop)})
    return generated_module("sweeps", loop.name, text)


def evaluate_specs(piece: SpecPiece, inputs: Inputs) -> tuple[Floats, Floats, Floats]:
    """Run the specs of a piece; returns measures (V, 18), block sums (V, 16, 2) and sketches (V, 256)."""
    require_exact()
    evaluate, count = compiled(piece.loop).evaluate, len(piece.specs)
    measures, blocks, sketch = outputs = (
        np.zeros((count, MEASURES)), np.zeros((count, BLOCKS, 2)), np.zeros((count, SKETCH)),
    )  # fmt: skip
    entries, following, place = np.empty(2, np.int32), np.arange(3, dtype=np.int32), np.empty(1, np.int64)
    with desk(entries=2, sessions=inputs.marks.size, variants=1, rows=1) as room:
        for first in range(0, count, BATCH):
            some = slice(first, min(first + BATCH, count))
            specs = piece.specs.part(some.start, some.stop)
            evaluate(
                specs.signals(inputs), *specs.traded, inputs.values, inputs.probability, inputs.clock,
                inputs.bars, inputs.costs, inputs.session, inputs.marks, inputs.exposure, inputs.edges,
                inputs.market, inputs.bucket, inputs.sign, piece.capital, entries, following, place,
                room.outcomes, room.booked, room.links, room.changes[0], room.progress[0], measures[some],
                blocks[some], sketch[some],
            )  # fmt: skip
    return outputs


def what_spec_reads(piece: SpecPiece, inputs: Inputs) -> tuple[Any, ...]:
    """Return the first arguments of `trace` and `fates` for the one spec of a piece."""
    return (
        piece.specs.signals(inputs), *piece.specs.traded, inputs.values, inputs.probability, inputs.clock,
        inputs.bars, inputs.costs,
    )  # fmt: skip
