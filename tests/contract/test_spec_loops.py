"""The loops of specs: few of them, whatever the specs are, and no more is read of a vector than is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lockstep.features.feature_registry import default_registry
from lockstep.strategy.config import ACCEPT_ALL
from lockstep.strategy.families.rules import RULES, RulesConfig
from research.sweep import specs as loops
from research.sweep.inputs import Prepared
from research.sweep.kernels import FILL_COLUMNS, OUTCOME
from research.sweep.packing import Ragged, Specs
from research.sweep.run import sweep
from research.sweep.signals import evaluate_programs
from support import specs
from support.specs import World

BARS = 1_000


def compiled(world: World) -> tuple[int, int]:
    """Return how many loops there are, and for how many kinds of arrays they and the signals are compiled."""
    open_all_day = {loops.loop_of(each, RULES, always_open=True) for each in specs.specs(world, 1, 20)}
    found = [loops.compiled(each).evaluate for each in open_all_day]
    return loops.compiled.cache_info().currsize, sum(
        len(each.signatures) for each in (*found, evaluate_programs)
    )


def test_nothing_is_compiled_for_a_spec() -> None:
    """Forty specs that nobody has seen before, after twenty others."""
    world = specs.daily_world(BARS)
    loops.compiled.cache_clear()
    none = loops.compiled.cache_info().currsize
    sweep(specs.specs(world, 1, 20), world.history, world.symbol, span=world.span, jobs=1)
    before = compiled(world)
    sweep(specs.specs(world, 2, 40), world.history, world.symbol, span=world.span, jobs=1)
    assert compiled(world) == before
    assert none == 0 < before[0] <= 2


def test_what_is_not_said_to_be_read_is_not_there() -> None:
    """Negative control of `Signals.reads`: without it a veto judges a number that is nobody's."""
    world = specs.daily_world(BARS)
    config = RulesConfig.model_validate(
        {
            "name": "calm", "long_entry": {"id": "ibs", "below": 0.4}, "max_bars": 2,
            "veto": {"id": "rsi_14", "at_least": 50},
        }
    )  # fmt: skip
    prepared = Prepared(world.history, world.symbol, config, world.span, default_registry())
    packed = Specs.of(
        [config], prepared.market, {each: row for row, each in enumerate(config.feature_ids)}, ACCEPT_ALL
    )
    blind = replace(packed, read=Ragged.of([()], np.int64))
    loop = loops.loop_of(config, RULES, always_open=prepared.always_open)
    inputs = prepared.read(prepared.columns(config.feature_ids, config), config)
    fills, curve, found = np.empty((2 * BARS + 2, FILL_COLUMNS)), np.empty(BARS), []
    for each in (packed, blind):
        (piece,) = loops.SpecPiece.parts(loop, config.capital, np.zeros(1, dtype=np.int64), each, 1)
        found.append(
            loops.compiled(loop).trace(
                *loops.what_spec_reads(piece, inputs), config.capital, np.empty(OUTCOME), fills, curve
            )
        )
    assert found[0] > 100
    assert found[1] == 0
