"""`python -m simulation`: run seeds, tell a story, shorten what breaks; see docs/simulator.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from simulation import block as blocks
from simulation.draw import draw
from simulation.incidents import sentence
from simulation.life import Life, iso
from simulation.plants import PLANTS
from simulation.shrink import shrink
from simulation.simulate import Outcome, simulate

_TAIL = 40


def main(arguments: Sequence[str]) -> int:
    """Do what is asked; exit code 1 where an invariant does not hold."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=100, help="how many seeds")
    parser.add_argument("--workers", type=int, default=1, help="processors")
    parser.add_argument("--plant", choices=sorted(PLANTS), default="", help="a fault to plant back")
    parser.add_argument("--plants", action="store_true", help="look for every plant, seed by seed")
    parser.add_argument("--story", type=int, help="tell one seed's life in words")
    parser.add_argument("--history", type=Path, help="run a stored history and tell it in words")
    parser.add_argument("--shrink", type=int, help="shorten the life of a seed that breaks something")
    parser.add_argument("--to", type=Path, help="where --shrink stores the history")
    asked = parser.parse_args(arguments)
    if asked.plants:
        return _plants(asked.first, asked.count)
    if asked.history is not None:
        return _tell(Life.load(asked.history), asked.plant)
    if asked.story is not None:
        return _tell(draw(asked.story), asked.plant)
    if asked.shrink is not None:
        return _shrink(asked.shrink, asked.plant, asked.to)
    return _block(asked.first, asked.count, asked.workers, asked.plant)


def _block(first: int, count: int, workers: int, plant: str) -> int:
    tally = blocks.Tally()
    for outcome in blocks.block(first, count, workers=workers, plant=plant):
        tally.add(outcome)
        if not outcome.holds:
            print(f"seed {outcome.seed}: {outcome.invariant}: {outcome.text}", flush=True)
    told = {
        "first": first,
        "lives": tally.lives,
        "desk_days": tally.days,
        "broken": len(tally.broken),
        "hash": tally.hash,
        "counts": dict(sorted(tally.counts.items())),
        "desk_days_per_minute_and_core": round(tally.days / tally.seconds * 60.0),
    }
    print(json.dumps(told, indent=1))
    return 1 if tally.broken else 0


def _plants(first: int, count: int) -> int:
    missed = 0
    for name in PLANTS:
        found = find(name, first, count)
        missed += found is None
        told = "NOT FOUND" if found is None else f"seed {found.seed}: {found.invariant}: {found.text}"
        print(f"{name}: {told[:160]}", flush=True)
    return 1 if missed else 0


def find(plant: str, first: int, count: int) -> Outcome | None:
    """Return the first life in which a planted fault is noticed by an invariant that is meant for it."""
    for outcome in blocks.block(first, count, plant=plant):
        if outcome.invariant in PLANTS[plant].noticed_by:
            return outcome
    return None


def _tell(life: Life, plant: str) -> int:
    blocks.prepare()
    outcome = _run(life, plant, keep=True)
    print("\n".join(outcome.lines))
    print(f"{outcome.invariant or 'everything held'}: {outcome.text or dict(outcome.counts)}")
    return 0 if outcome.holds else 1


def _run(life: Life, plant: str, *, keep: bool = False) -> Outcome:
    if not plant:
        return simulate(life, keep=keep)
    with PLANTS[plant].install():
        return simulate(life, keep=keep)


def _shrink(seed: int, plant: str, to: Path | None) -> int:
    blocks.prepare()
    life = draw(seed)
    outcome = _run(life, plant)
    if outcome.holds:
        print(f"seed {seed}: everything held; there is nothing to shorten")
        return 0
    shortest = shrink(
        life, outcome.signature, fails=lambda each: _run(each, plant).signature == outcome.signature
    )
    found = _run(shortest, plant, keep=True)
    note = f"{found.invariant}: {found.text}"
    shortest = replace(shortest, note=note, finds=(plant,) if plant else ())
    print(told(shortest, found))
    if to is not None:
        to.write_text(shortest.to_json(), encoding="utf-8")
    return 1


def told(life: Life, outcome: Outcome) -> str:
    """Return a failing life for a reader: what it is made of, how it ended, and the fault."""
    traders = ", ".join(f"{each.series} by {each.model} ({each.handover})" for each in life.traders)
    return "\n".join(
        [
            f"seed {life.seed}, mode {life.desk.mode}, {iso(life.begins)} to {iso(life.ends)}: {traders}",
            *(f"  {iso(each.time)} {sentence(each)}" for each in life.incidents),
            "",
            *outcome.lines[-_TAIL:],
            "",
            f"{outcome.invariant}: {outcome.text}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
