"""Thinned series draw the same picture: extremes stay in every stretch, gaps stay gaps, points are few."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from research.report.thinning import thin

Positions = NDArray[np.intp]
Thinning = Callable[[Any, int], Positions]


@st.composite
def series(draw: st.DrawFn) -> tuple[Any, int]:
    """A walk of up to 3,000 values with spikes and, mostly, gaps of any length; and a limit."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = np.cumsum(random.normal(size=draw(st.integers(1, 3_000)))) + draw(
        st.sampled_from([0.0, 1e6, -1e6])
    )
    spikes = random.integers(0, values.size, draw(st.integers(0, 5)))
    values[spikes] += random.choice([-1e4, 1e4], spikes.size)
    for start in random.integers(0, values.size, draw(st.integers(0, 40))):
        values[start : start + int(random.integers(1, 60))] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    return values, draw(st.integers(9, 400))


def faults(values: Any, limit: int, kept: Positions) -> list[str]:
    """Return what a drawing of the values at `kept` would get wrong."""
    known = np.isfinite(values)
    found = []
    if kept.size > limit or (np.diff(kept) <= 0).any():
        found.append("more points than may be, or not rising")
    if values.size <= limit:
        return found if kept.tolist() == list(range(values.size)) else [*found, "few values were thinned"]
    stretches = limit // 4 if known.all() else (limit - 1) // 8
    for start, stop in pairwise(np.linspace(0, values.size, stretches + 1).astype(int).tolist()):
        mine = np.flatnonzero(known[start:stop]) + start
        drawn = kept[(kept >= start) & (kept < stop)]
        drawn = drawn[known[drawn]]
        if not mine.size:
            continue
        if not drawn.size or (drawn[0], drawn[-1]) != (mine[0], mine[-1]):
            found.append(f"first or last of {start} to {stop}")
        elif (values[drawn].min(), values[drawn].max()) != (values[mine].min(), values[mine].max()):
            found.append(f"an extreme of {start} to {stop}")
    ends = [-1, *kept.tolist(), values.size]
    for left, right in pairwise(ends):
        is_drawn = all(0 <= at < values.size and known[at] for at in (left, right))
        if is_drawn and not known[left:right].all():
            found.append(f"a line over the gap between {left} and {right}")
    if not known[0] and kept.size and known[kept[0]]:
        found.append("the gap at the start")
    if not known[-1] and kept.size and known[kept[-1]]:
        found.append("the gap at the end")
    return found


@given(series())
def test_extremes_and_gaps_stay(drawn: tuple[Any, int]) -> None:
    values, limit = drawn
    assert faults(values, limit, thin(values, limit)) == []


def _every(values: Any, limit: int) -> Positions:
    return np.arange(0, values.size, -(-values.size // limit))


def _nan_is_zero(values: Any, limit: int) -> Positions:
    return thin(np.nan_to_num(values), limit)


def _no_gaps(values: Any, limit: int) -> Positions:
    kept = thin(values, limit)
    return kept[np.isfinite(values[kept])]


def _no_lows(values: Any, limit: int) -> Positions:
    return np.setdiff1d(thin(values, limit), [int(np.nanargmin(values))])


@pytest.mark.parametrize(
    "wrong", [_every, _nan_is_zero, _no_gaps, _no_lows, lambda values, _: np.arange(values.size)]
)
def test_other_ways_to_thin_are_caught(wrong: Thinning) -> None:
    values = 500.0 + np.cumsum(np.random.default_rng(3).normal(size=2_000))
    values[[700, 1_301]] = 5_000.0, 1.0
    values[1_290:1_300] = np.nan
    assert faults(values, 200, thin(values, 200)) == []
    assert faults(values, 200, wrong(values, 200))
