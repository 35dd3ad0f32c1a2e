"""Families with planted faults: negative controls of the suite that every family has to pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal
from unittest import mock

from lockstep.compiled import kernel
from lockstep.market.bars import Floats
from lockstep.strategy import family as registry
from lockstep.strategy.decision import ENTER_LONG, FAMILY, NO_SIGNAL, SIDE, Clock, Holding
from lockstep.strategy.family import Family, load_family

MA_CROSS = load_family(Path(__file__).parent / "toys/family.py")
_right, _EXIT_SPREAD = MA_CROSS.decide, FAMILY + 2


def exit_called_entry() -> Family:
    """Return a family that declares a field of its exits as one of its entries."""
    return replace(MA_CROSS, entry=(*MA_CROSS.entry, *MA_CROSS.exit), exit=())


@kernel
def _reads_the_exit_slot(
    values: Floats, probability: float, clock: Clock, holding: Holding, rules: Floats, filters: Floats
) -> int:
    code = _right(values, probability, clock, holding, rules, filters)
    if holding[SIDE] == 0.0 and code == ENTER_LONG and values[0] > rules[_EXIT_SPREAD] + 0.5:
        return NO_SIGNAL
    return code


class _Config(MA_CROSS.config):  # type: ignore[name-defined, misc]
    family: Literal["reads the exit slot"] = "reads the exit slot"  # type: ignore[assignment]


def reads_the_exit_slot() -> Family:
    """Return a family whose entries depend on a number that it declares for exits only."""
    return replace(MA_CROSS, config=_Config, decide=_reads_the_exit_slot)


@contextmanager
def registered(family: Family) -> Iterator[Family]:
    """Register a family for a while."""
    with mock.patch.dict(registry._registered, {family.name: family}):
        yield family
