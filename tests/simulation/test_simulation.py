"""The life of a desk, simulated: invariants hold, planted faults are found, equal seeds give equal bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation import block
from simulation.draw import draw
from simulation.life import Life
from simulation.plants import PLANTS
from simulation.shrink import shrink
from simulation.simulate import RULES, simulate

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))
TESTS = Path(__file__).resolve().parents[1]

# What every change is put through; `make soak` lives a million days.
PIECES, LIVES = 8, 25

# The first of 200 seeds in which each planted fault is noticed; `python -m simulation --plants` finds them.
FOUND_BY: dict[str, int] = {}


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> None:
    block.prepare()


@pytest.mark.parametrize("piece", range(PIECES))
def test_every_invariant_holds_after_every_step(piece: int) -> None:
    outcomes = list(block.outcomes(range(piece * LIVES, (piece + 1) * LIVES)))
    assert [f"seed {each.seed}: {each.invariant}: {each.text}" for each in outcomes if not each.holds] == []
    happened = {
        name: sum(each.counts[name] for each in outcomes) for name in ("kills", "sent", "fills", "sets")
    }
    assert min(happened.values()) > LIVES, happened


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_found(name: str) -> None:
    life = draw(FOUND_BY[name])
    with PLANTS[name].install():
        outcome = simulate(life)
    assert outcome.invariant in PLANTS[name].noticed_by, outcome.text
    assert simulate(life).holds, "without the fault it is an ordinary life"


def test_every_plant_is_meant_for_an_invariant_that_exists() -> None:
    assert FOUND_BY.keys() == PLANTS.keys()
    assert {name for plant in PLANTS.values() for name in plant.noticed_by} <= RULES.keys()


def test_the_same_seed_gives_the_same_bytes_in_any_process() -> None:
    program = (
        "from simulation import block\n"
        "block.prepare()\n"
        "print([(each.trace, each.journal) for each in block.outcomes(range(5))])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    told.add(f"{[(each.trace, each.journal) for each in block.outcomes(range(5))]}\n")
    assert len(told) == 1


def test_another_seed_is_another_life() -> None:
    first, second = block.outcomes((0, 1))
    assert (first.trace, first.journal) != (second.trace, second.journal)


def test_a_failing_life_is_shortened_stored_and_told(tmp_path: Path) -> None:
    name = "HALT cached" if "HALT cached" in PLANTS else next(iter(PLANTS))
    life = draw(FOUND_BY[name])

    def signature(each: Life) -> str:
        with PLANTS[name].install():
            return simulate(each).signature

    fault = signature(life)
    short = shrink(life, fault, fails=lambda each: signature(each) == fault)
    assert len(short.incidents) <= len(life.incidents)
    assert short.days <= life.days
    path = tmp_path / "history.json"
    path.write_text(short.to_json(), encoding="utf-8")
    assert signature(Life.load(path)) == fault


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_history_that_once_failed_holds(path: Path) -> None:
    outcome = simulate(Life.load(path))
    assert outcome.holds, f"{outcome.invariant}: {outcome.text}"
