"""How often noise passes for a model, and skill for one: five trainings of each kind, the soak has 200.

A rate fails only beyond what chance explains in all but one of 800 runs: of five models without skill two
may pass where 5 % should, of five with skill one must where 80 % should.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from research.ledger.database import Database
from research.ledger.ledger import Ledger
from support.veto_worlds import World, case_of, passes

_MODELS, _MOST_OF_NOISE, _LEAST_OF_SKILL = 5, 2, 1


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Database.open(f"sqlite:///{tmp_path / 'looks.db'}"))


def passed(world: World, ledger: Ledger) -> int:
    return sum(passes(case_of(world, seed, ledger)) for seed in range(_MODELS))


@pytest.mark.no_cover
@pytest.mark.parametrize("world", ["labels", "noise"])
def test_models_without_skill_do_not_pass(world: World, ledger: Ledger) -> None:
    assert passed(world, ledger) <= _MOST_OF_NOISE


@pytest.mark.no_cover
def test_models_that_know_something_pass(ledger: Ledger) -> None:
    assert passed("planted", ledger) >= _LEAST_OF_SKILL
