"""Drawn specs in the sweep and in Backtrader: the same fills and the same equity at every bar."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from research.backtest.run import run_backtest
from support import specs
from support.spec_parity import Seen, difference, parted
from support.specs import WORLDS

BARS = 1_000
# Per world, 300 in all.
COUNT = int(os.environ.get("LOCKSTEP_SPECS", "75"))

# What a world's specs must have in them, and what must happen to them.
SAID = {
    "below", "at_most", "above", "at_least", "between", "equals", "all", "any", "not",
    "below another id", "at_most another id", "above another id", "at_least another id",
    "score below", "score at_most", "score above", "score at_least", "negative weight",
    "long entry", "long exit", "short entry", "short exit", "~", "%", "@", "*",
    "stop in percent", "stop in atr", "target in percent", "target in atr", "max_bars", "veto", "features",
    "filter of long", "filter of short", "filter of both", "fills at the next_open", "fills at the close",
    "size fixed", "size risk", "size volatility", "size by regime",
}  # fmt: skip
MET = {
    "enter long", "enter short", "signal", "max bars", "no signal", "hold", "missing", "filtered", "veto",
    "ambiguous", "filled: stop", "filled: target", "filled: signal", "filled: max bars",
}  # fmt: skip
INTRADAY = {"session", "outside session", "outside window", "after auto-close", "filled: session"}


@pytest.mark.parametrize("name", WORLDS)
def test_drawn_specs_are_equal_to_backtrader(name: str) -> None:
    """All of them in one call: other ids, trees, stops, windows, sizes, ages and execution in each."""
    world, seen = WORLDS[name](BARS), Seen()
    drawn = specs.specs(world, 1, COUNT)
    found = parted(drawn, world, seen)
    assert not found, found[0]
    assert SAID <= seen.said.keys(), SAID - seen.said.keys()
    wanted = MET | (INTRADAY if name == "hourly" else set())
    assert wanted <= seen.met.keys(), wanted - seen.met.keys()


def test_the_comparison_can_fail() -> None:
    """Negative control: in other bars the same specs trade otherwise."""
    world = specs.daily_world(BARS)
    moved = {
        key: replace(bars, close=np.minimum(bars.close + 0.01, bars.high))
        for key, bars in world.history.bars.items()
    }
    other = replace(world, history=replace(world.history, bars=moved))
    (drawn, *_) = specs.specs(world, 1, 1)
    result = run_backtest(drawn, world.history, world.symbol, span=world.span)
    assert difference(result, drawn, world) == ""
    assert difference(result, drawn, other) != ""
