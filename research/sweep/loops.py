"""Pieces of work, the compiled loops that they run in, and the memory that the loops work in.

A piece is a number of variants of one shape. A loop is generated for each shape: the stages of `kernels` with
the `decide` of the variants' family and the literals of the shape. The memory is kept from one piece to the
next: the system hands out large arrays page by page, which takes longer than the work that is done in them.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lockstep.compiled import generated_module
from lockstep.floats import require_exact
from lockstep.market.bars import Floats
from research.statistics.maximum import SKETCH
from research.sweep.account import BLOCKS, LINK, MEASURES, PROGRESS
from research.sweep.inputs import Inputs
from research.sweep.kernels import OUTCOME, Numbers, link_entries, number_entries
from research.sweep.variants import Integers, Shape, Slots, VariantGroup

_CACHE_LINE = 64

Each = Callable[..., Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Arrays of one worker, whose contents are left from before; see `account.settle` and `account.book`.

    outcomes, booked   float64 (entries, 8), links: int32 (entries, 8), for the entries of a stretch of bars
    changes            float64 (rows, sessions); progress: float64 (variants, 3)
    """

    outcomes: Floats
    booked: Floats
    links: Numbers
    changes: Floats
    progress: Floats


# Those that no worker is using; taking and giving back are atomic.
_free: list[NDArray[np.uint8]] = []


@contextmanager
def desk(*, entries: int, sessions: int, variants: int, rows: int) -> Iterator[Desk]:
    """Yield a desk of these sizes."""
    shapes = {
        "outcomes": ((entries, OUTCOME), np.float64),
        "booked": ((entries, OUTCOME), np.float64),
        "links": ((entries, LINK), np.int32),
        "changes": ((rows, sessions), np.float64),
        "progress": ((variants, PROGRESS), np.float64),
    }
    sizes = [int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in shapes.values()]
    starts = np.cumsum([0, *(size + -size % _CACHE_LINE for size in sizes)])
    room = _room(int(starts[-1]))
    cut = zip(shapes.items(), starts.tolist(), sizes, strict=False)
    try:
        yield Desk(
            **{
                name: room[start : start + size].view(kind).reshape(shape)
                for (name, (shape, kind)), start, size in cut
            }
        )
    finally:
        _free.append(room)


def _room(size: int) -> NDArray[np.uint8]:
    """Return so many bytes, beginning with a line of the cache: a row of outcomes is one line."""
    room = _free.pop() if _free else np.empty(0, dtype=np.uint8)
    if room.size >= size:
        return room
    raw = np.empty(size + _CACHE_LINE, dtype=np.uint8)
    first = -raw.ctypes.data % _CACHE_LINE
    return raw[first : first + size]


_TEMPLATE = '''"""Generated: the sweep's loops for one shape of variants; see research/sweep/loops.py."""

import math

from lockstep.compiled import inlined, uncounted
from lockstep.strategy.family import family_named
from research.sweep import account, kernels
from research.sweep.account import AFTER, sum_sessions
from research.sweep.kernels import NO_FILTER, next_side

find_entries = inlined(kernels.find_entries)
hold = inlined(kernels.hold)
record = inlined(account.record)
settle = inlined(account.settle)
tabulate = inlined(kernels.tabulate)
# Of the family with the fingerprint {code}.
decide = family_named({family!r}, where="sweep").decide
INF = math.inf
NAN = math.nan


@uncounted
def row(values, i):
    return ({values})


@uncounted
def entries(p, values, probability, clock, sides):
    find_entries(decide, row, {always_open}, values, probability, clock, ({entry_rules}), ({filters}), sides)


@uncounted
def trade(recorded, p, values, clock, bars, costs, entry, outcome, count, fills):
    return hold(
        decide, row, recorded, {at_close}, {always_open}, values, clock, bars, costs, ({exit_rules}),
        NO_FILTER, ({sizing}), ({exits}), entry, outcome, count, fills
    )


@uncounted
def carry_out(spec, values, clock, bars, costs, entry, outcome):
    p, first = spec
    following, _ = trade(False, p, values, clock, bars, costs, entry, outcome, 0, bars)
    return first[following]


@uncounted
def evaluate(
    exit_parameters, exit_of, entry_of, values, clock, bars, costs, session, marks, exposure, edges, market,
    bucket, sign, capital, entries, first, following, stretches, outcomes, booked, links, changes, progress,
    measures, blocks, sketch
):
    last = stretches.size - 2
    for stretch in range(last + 1):
        begin, until = stretches[stretch], stretches[stretch + 1]
        known = -1
        for v in range(exit_of.shape[0]):
            if exit_of[v] != known:
                known = exit_of[v]
                links[: until - begin, AFTER] = -1
            change = changes[v % changes.shape[0]]
            if stretch == 0:
                change[:] = 0.0
            settle(
                carry_out, {at_close}, (exit_parameters[known], first), values, clock, bars, session, marks,
                exposure, costs, capital, entries, following[entry_of[v]], begin, until, outcomes, booked,
                links, change, progress[v], measures[v]
            )
            if stretch == last:
                sum_sessions(change, capital, edges, market, bucket, sign, measures[v], blocks[v], sketch[v])


@uncounted
def following_entry(spec, values, clock, i, n):
    return next_side(spec[1], i)


@uncounted
def recorded_trade(spec, values, clock, bars, costs, entry, outcome, count, fills):
    return trade(True, spec[0], values, clock, bars, costs, entry, outcome, count, fills)


@uncounted
def trace(p, sides, values, clock, bars, costs, capital, outcome, fills, curve):
    return record(
        following_entry, recorded_trade, (p, sides), values, clock, bars, costs, capital, outcome, fills,
        curve
    )


@uncounted
def fates(p, sides, values, clock, bars, costs, outcome, fills, table):
    tabulate(
        following_entry, recorded_trade, (p, sides), values, clock, bars, costs, outcome, fills, table
    )
'''


@functools.cache
def loops(shape: Shape) -> ModuleType:
    """Return the compiled loops of a shape, from the disk cache if they are there."""
    entry_rules, filters = _spelled(shape.entry)
    exit_rules, sizing, exits = _spelled(shape.exit)
    text = _TEMPLATE.format(
        values=", ".join(f"values[i, {column}]" for column in range(shape.width)) + ",",
        family=shape.family,
        code=shape.code,
        at_close=shape.at_close,
        always_open=shape.always_open,
        entry_rules=entry_rules,
        filters=filters,
        exit_rules=exit_rules,
        sizing=sizing,
        exits=exits,
    )
    return generated_module("sweeps", shape.name, text)


def _spelled(slots: Slots) -> list[str]:
    """Return each part as the content of a tuple: literals, or where a number stands in `p`."""
    numbers = itertools.count()
    return [
        ", ".join(
            f"p[{number}]" if slot is None else slot for slot, number in zip(part, numbers, strict=False)
        )
        for part in slots
    ]


# Bars that all variants of a piece go through before the next ones, so that what is read and written for them
# stays in the fast part of the memory. A history of up to four times as many is one stretch.
STRETCH = 2_048
_ONE_STRETCH = 4 * STRETCH
# Entries of different rules, 64 MB at most, and changes of equity of different variants, 32 MB at most.
_ENTRY_CELLS = 16_000_000
_CHANGE_CELLS = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Entries:
    """Where any of R entry rules enters; see `kernels.number_entries` and `kernels.link_entries`.

    bars        int32 (m,), of m entries; first: int32 (n + 1,); following: int32 (R, m + 1)
    stretches   int32 (t + 1,): the entries of t stretches of bars lie between two of these
    """

    bars: Numbers
    first: Numbers
    following: Numbers
    stretches: Numbers

    @classmethod
    def of(cls, shape: Shape, parameters: Floats, inputs: Inputs, each: Each = map, workers: int = 1) -> Self:
        """Search the bars with each rule, float64 (R, a); `each` is `map`, or one that works in threads."""
        compiled, n = loops(shape), len(inputs.bars)
        sides = np.empty((len(parameters), n), dtype=np.uint8)
        seen = inputs.seen_while_flat
        parts = [some for some in np.array_split(np.arange(len(sides)), workers) if some.size]

        def search(rules: Integers) -> None:
            for rule in rules.tolist():
                compiled.entries(parameters[rule], *seen, sides[rule])

        deque(each(search, parts), maxlen=0)
        bars, first = np.empty(2 * n, dtype=np.int32), np.empty(n + 1, dtype=np.int32)
        count = number_entries(sides, np.zeros(n, dtype=np.uint8), bars, first)
        bars, following = bars[:count], np.empty((len(parameters), count + 1), dtype=np.int32)

        def link(rules: Integers) -> None:
            some = slice(rules[0], rules[-1] + 1)
            link_entries(sides[some], bars, following[some])

        deque(each(link, parts), maxlen=0)
        inner = np.unique(first[STRETCH:n:STRETCH]) if n > _ONE_STRETCH else first[:0]
        inner = inner[(inner > 0) & (inner < count)]
        return cls(
            bars=bars, first=first, following=following, stretches=np.concatenate(([0], inner, [count]))
        )


def shared_entries(group: VariantGroup, inputs: Inputs, each: Each, workers: int) -> Entries | None:
    """Return the entries of a whole group, for all its pieces; None where they are too many for that."""
    if len(group.entry_parameters) * len(inputs.bars) > _ENTRY_CELLS:
        return None
    return Entries.of(group.shape, group.entry_parameters, inputs, each, workers)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some variants of a group, those of equal exit rules beside each other; fields as of `VariantGroup`.

    rules   int64: which of the group's entry rules are `entry_parameters`
    """

    shape: Shape
    capital: float
    positions: Integers
    rules: Integers
    entry_parameters: Floats
    entry_of: Integers
    exit_parameters: Floats
    exit_of: Integers


def pieces(group: VariantGroup, chunk: int, *, bars: int, sessions: int, workers: int = 1) -> list[Piece]:
    """Return the variants of a group in pieces of at most `chunk`, at least one per worker.

    Pieces share entries and nothing else, so few large ones are better; very many bars make them smaller.
    """
    most = min(chunk, _ENTRY_CELLS // bars, _CHANGE_CELLS // sessions, group.positions.size // workers)
    size = max(1, most)
    return [_piece(group, slice(first, first + size)) for first in range(0, group.positions.size, size)]


def _piece(group: VariantGroup, rows: slice) -> Piece:
    entries, entry_of = np.unique(group.entry_of[rows], return_inverse=True)
    exits, exit_of = np.unique(group.exit_of[rows], return_inverse=True)
    return Piece(
        shape=group.shape,
        capital=group.config.capital,
        positions=group.positions[rows],
        rules=entries,
        entry_parameters=group.entry_parameters[entries],
        entry_of=entry_of,
        exit_parameters=group.exit_parameters[exits],
        exit_of=exit_of,
    )


def evaluate(piece: Piece, inputs: Inputs, shared: Entries | None = None) -> tuple[Floats, Floats, Floats]:
    """Run the variants of a piece; returns measures (V, 18), block sums (V, 16, 2) and sketches (V, 256).

    shared   the entries of the whole group, where they are known
    """
    require_exact()
    compiled, count = loops(piece.shape), piece.positions.size
    entries = shared or Entries.of(piece.shape, piece.entry_parameters, inputs)
    entry_of = piece.rules[piece.entry_of] if shared else piece.entry_of
    outputs = (np.zeros((count, MEASURES)), np.zeros((count, BLOCKS, 2)), np.zeros((count, SKETCH)))
    with desk(
        entries=int(np.diff(entries.stretches).max()),
        sessions=inputs.marks.size,
        variants=count,
        rows=1 if entries.stretches.size == 2 else count,
    ) as room:
        compiled.evaluate(
            piece.exit_parameters, piece.exit_of, entry_of, *inputs.seen_in_position, inputs.session,
            inputs.marks, inputs.exposure, inputs.edges, inputs.market, inputs.bucket, inputs.sign,
            piece.capital, entries.bars, entries.first, entries.following, entries.stretches, room.outcomes,
            room.booked, room.links, room.changes, room.progress, *outputs,
        )  # fmt: skip
    return outputs
