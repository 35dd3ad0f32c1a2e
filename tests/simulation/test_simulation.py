"""The life of a desk, simulated: invariants hold, planted faults are found, equal seeds give equal bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation import block
from simulation.__main__ import told
from simulation.draw import draw
from simulation.life import Life
from simulation.plants import PLANTS
from simulation.shrink import shrink
from simulation.simulate import RULES, simulate

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))
TESTS = Path(__file__).resolve().parents[1]

# What every change is put through; `make soak` lives a million days.
PIECES, LIVES = 4, 20

# The first of 200 seeds in which each planted fault is noticed; `python -m simulation --plants` finds them.
FOUND_BY: dict[str, int] = {
    "superseded model opens": 1,
    "waiting entry of a replaced model": 1,
    "swap in a position": 13,
    "absurd bar traded": 2,
    "right bar refused": 2,
    "bar outside the calendar": 0,
    "repeated bars dropped": 4,
    "one order at a time": 13,
    "exit behind entries": 13,
    "dead worker": 23,
    "secret echoed": 23,
    "roll-out sends nothing": 53,
    "entry before reconciliation": 3,
    "entry by a wrong clock": 3,
    "irregular bars in silence": 0,
    "sent again after a crash": 19,
    "unknown order sent again": 19,
    "journal after the effect": 0,
    "random order ids": 0,
    "journal row skipped": 0,
    "fill booked twice": 0,
    "fill without a bar": 1,
    "rejection of a filled order": 23,
    "replayed fills forgotten": 13,
    "exit waits for ever": 13,
    "stop and exit both filled": 21,
    "two cents too many": 5,
    "limit off by one": 7,
    "kill switch cached": 4,
    "HALT cached": 10,
    "orders counted by the clock": 13,
}


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> None:
    block.prepare()


def shortest(seed: int) -> str:
    """Return the shortest history of a broken life, in words."""
    life = draw(seed)
    signature = simulate(life).signature
    short = shrink(life, signature, fails=lambda each: simulate(each).signature == signature)
    return told(short, simulate(short, keep=True))


@pytest.mark.parametrize("piece", range(PIECES))
def test_every_invariant_holds_after_every_step(piece: int) -> None:
    outcomes = list(block.outcomes(range(piece * LIVES, (piece + 1) * LIVES)))
    broken = [each.seed for each in outcomes if not each.holds]
    assert not broken, shortest(broken[0])
    happened = {
        name: sum(each.counts[name] for each in outcomes) for name in ("kills", "sent", "fills", "sets")
    }
    assert min(happened.values()) > LIVES // 2, happened


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
        "print([(each.trace, each.journal) for each in block.outcomes(range(2))])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    said.add(f"{[(each.trace, each.journal) for each in block.outcomes(range(2))]}\n")
    assert len(said) == 1


def test_another_seed_is_another_life() -> None:
    first, second = block.outcomes((0, 1))
    assert (first.trace, first.journal) != (second.trace, second.journal)


def test_a_failing_life_is_shortened_stored_and_told(tmp_path: Path) -> None:
    name = "absurd bar traded"
    life = draw(FOUND_BY[name])

    def signature(each: Life) -> str:
        with PLANTS[name].install():
            return simulate(each).signature

    fault = signature(life)
    assert fault
    short = shrink(life, fault, fails=lambda each: signature(each) == fault)
    assert len(short.incidents) <= len(life.incidents)
    assert short.days <= life.days
    path = tmp_path / "history.json"
    path.write_text(short.to_json(), encoding="utf-8")
    assert signature(Life.load(path)) == fault


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_history_that_once_failed_holds_and_finds_its_fault(path: Path) -> None:
    life = Life.load(path)
    outcome = simulate(life)
    assert outcome.holds, f"{outcome.invariant}: {outcome.text}"
    for name in life.finds:
        with PLANTS[name].install():
            assert simulate(life).invariant in PLANTS[name].noticed_by
