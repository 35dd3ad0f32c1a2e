"""Generated loops over variants: the stages of `sweep_kernels` with the literals of one shape."""

from __future__ import annotations

import functools
import itertools
from types import ModuleType

from lockstep.compiled import generated_module
from research.sweep_variants import Shape, Slots

_TEMPLATE = '''"""Generated: the sweep's loops for one shape of variants; see research/sweep_loops.py."""

import math

import numpy as np

from lockstep.compiled import inlined, kernel
from research import sweep_account, sweep_kernels
from research.sweep_account import draw, sum_sessions
from research.sweep_kernels import NO_FILTER, OUTCOME

find_entries = inlined(sweep_kernels.find_entries)
hold = inlined(sweep_kernels.hold)
settle = inlined(sweep_account.settle)
INF = math.inf
NAN = math.nan


@kernel
def row(values, i):
    return ({values})


@kernel
def entries(p, values, probability, clock, found):
    find_entries(row, {always_open}, values, probability, clock, ({entry_rules}), ({filters}), found)


@kernel
def carry_out(p, values, clock, bars, costs, entry, outcomes):
    following, _ = hold(
        row, False, {at_close}, {always_open}, values, clock, bars, costs, ({exit_rules}), NO_FILTER,
        ({sizing}), ({exits}), entry, outcomes, 0, outcomes
    )
    return following


@kernel
def evaluate(
    exit_parameters, exit_of, found, entry_of, values, clock, bars, costs, session, marks, edges, bucket,
    sign, capital, following, outcomes, changes, measures, blocks, sketch
):
    known = -1
    for v in range(exit_of.shape[0]):
        if exit_of[v] != known:
            known = exit_of[v]
            following[:] = -1
        changes[:] = 0.0
        settle(
            carry_out, {at_close}, exit_parameters[known], values, clock, bars, session, marks, costs,
            capital, found[entry_of[v]], following, outcomes, changes, measures[v]
        )
        sum_sessions(changes, capital, edges, bucket, sign, measures[v], blocks[v], sketch[v])


@kernel
def trace(p, entries, values, clock, bars, costs, capital, fills, curve):
    n = bars.shape[0]
    outcomes = np.empty((2 * n, OUTCOME))
    i, stop, count, cash = 0, 0, 0, capital
    while entries[i] != 2 * n:
        entry = entries[i]
        i, count = hold(
            row, True, {at_close}, {always_open}, values, clock, bars, costs, ({exit_rules}), NO_FILTER,
            ({sizing}), ({exits}), entry, outcomes, count, fills
        )
        stop, cash = draw(outcomes[entry], bars, costs, stop, cash, curve)
    curve[stop:] = cash
    return count
'''


@functools.cache
def loops(shape: Shape) -> ModuleType:
    """Return the compiled `entries`, `evaluate` and `trace` of a shape, from the disk cache if there."""
    entry_rules, filters = _spelled(shape.entry)
    exit_rules, sizing, exits = _spelled(shape.exit)
    text = _TEMPLATE.format(
        values=", ".join(f"values[i, {column}]" for column in range(shape.width)) + ",",
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
