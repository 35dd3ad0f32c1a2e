"""How often noise passes for a model, and skill for one: five trainings of each kind, the soak has 200.

Chance alone fails one run in 800 without skill, where 5 % of the models should pass and two of five may, and
one in 3,000 with skill, where 80 % should pass and one of five must.
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
