"""Drawn specs in the live engine, stopped and started again: what a certificate compares is equal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from support import specs
from support.spec_live import Lived, traded
from support.specs import WORLDS

BARS = 250
# World, seed of the spec, and whether a model has a say: specs that trade there.
DRAWN = [
    ("daily", 2, False),
    ("daily", 2, True),
    ("young", 4, False),
    ("pair", 0, False),
    ("hourly", 2, False),
]


def lived(name: str, number: int, model: bool, folder: Path) -> Lived:
    world = WORLDS[name](1_000)
    return Lived.of(traded(specs.specs(world, 3, number + 1)[-1], world, model=model), world, BARS, folder)


@pytest.mark.parametrize(("name", "number", "model"), DRAWN)
def test_research_sweep_and_live_engine_agree(name: str, number: int, model: bool, tmp_path: Path) -> None:
    found = lived(name, number, model, tmp_path)
    parts = found.parts()
    for part in parts:
        assert part.first == ""
        assert part.bars == len(found.research.bars) >= BARS - 1
        assert part.fills > 4
    live = parts[1]
    assert found.run.restarts == 1
    assert live.values == live.bars * len(found.model.plan.ids)
    assert live.decisions == live.bars
    assert (live.probabilities > 4) == model


def test_a_difference_is_found(tmp_path: Path) -> None:
    """Negative control: one price of one fill, in its last bit."""
    found = lived("daily", 0, False, tmp_path)
    number, row = next(
        (number, row)
        for number, row in enumerate(found.run.sets)
        if any(order.status == "completed" for order in row.lanes[0].orders)
    )
    (lane,) = row.lanes
    orders = tuple(replace(order, price=order.price * (1.0 + 2.0**-52)) for order in lane.orders)
    sets = list(found.run.sets)
    sets[number] = replace(row, lanes=(replace(lane, orders=orders),))
    swept, live = replace(found, run=replace(found.run, sets=tuple(sets))).parts()
    assert (swept.different, live.different) == (0, 1)
