"""Generated loops over variants: `walk` with the literals of one shape."""

from __future__ import annotations

import functools
from itertools import accumulate
from types import ModuleType

from lockstep.compiled import generated_module
from research.sweep_variants import Shape

_TEMPLATE = '''"""Generated: the sweep's loop for one shape of variants; see research/sweep_variants.py."""

import math

import numpy as np

from lockstep.compiled import inlined, kernel
from research import sweep_kernels

walk = inlined(sweep_kernels.walk)
FILL_COLUMNS = sweep_kernels.FILL_COLUMNS
INF = math.inf
NAN = math.nan


@kernel
def row(values, i):
    return ({values})


@kernel
def evaluate(
    first, stop, parameters, values, probability, clock, bars, session, block, bucket, sign, costs,
    capital, measures, blocks, sketch
):
    no_fills, no_curve = np.empty((0, FILL_COLUMNS)), np.empty(0)
    for v in range(first, stop):
        p = parameters[v]
        walk(
            row, False, {at_close}, {always_open}, values, probability, clock, bars, session, block, bucket,
            sign, costs, capital, ({rules}), ({filters}), ({sizing}), ({exits}),
            measures[v - first], blocks[v - first], sketch[v - first], no_fills, no_curve
        )


@kernel
def trace(
    v, parameters, values, probability, clock, bars, session, block, bucket, sign, costs, capital,
    measures, blocks, sketch, fills, curve
):
    p = parameters[v]
    return walk(
        row, True, {at_close}, {always_open}, values, probability, clock, bars, session, block, bucket, sign,
        costs, capital, ({rules}), ({filters}), ({sizing}), ({exits}), measures, blocks, sketch, fills, curve
    )
'''


@functools.cache
def loops(shape: Shape) -> ModuleType:
    """Return the compiled `evaluate` and `trace` of a shape, from the disk cache where they are there."""
    spelled = [f"p[{number}]" if slot is None else slot for number, slot in enumerate(shape.slots)]
    ends = list(accumulate(shape.lengths))
    parts = [", ".join(spelled[end - size : end]) for size, end in zip(shape.lengths, ends, strict=True)]
    text = _TEMPLATE.format(
        values=", ".join(f"values[i, {column}]" for column in range(shape.width)) + ",",
        at_close=shape.at_close,
        always_open=shape.always_open,
        **dict(zip(("rules", "filters", "sizing", "exits"), parts, strict=True)),
    )
    return generated_module("sweeps", shape.name, text)
