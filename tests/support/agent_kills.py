"""Kill a session, its gate and its registration at every write, complete them, and compare what is left.

    agent_kills.py FOLDER

Compared is with what nobody killed. A program of its own, without threads: see `night_kills.py`. Prints JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from lockstep.market.dates import DateRange
from operations import contenders
from operations.agents.registration import register_winner
from research.agents import gate, process
from research.agents.database import AgentBook
from research.agents.gate import judge
from research.agents.plan import AgentSettings, plan_of
from support.agent_sessions import NOON, bars_of_few, book_in, made_in
from support.kills import NEVER, counting, lived
from support.nights import dump

SMALL: dict[str, Any] = {"strategies": 6, "kinds": {"technical": 2, "ml": 2}}
TECHNICAL = AgentSettings(
    symbol="COMP", researcher="support.explorers:Dice", strategies=4, kinds={"technical": 0}, least_trades=5,
    start=date(2010, 1, 4), end=date(2014, 12, 31),
)  # fmt: skip
Step = Callable[[Path], None]


def alone(step: Step, folder: Path, at: int = NEVER) -> bool:
    """Take a step in a fork that may die at a write; whether it lived."""
    child = os.fork()
    if not child:
        counted = counting(at)
        step(folder)
        (folder.parent / "writes").write_text(str(counted()))
        os._exit(0)
    return lived(child)


def killed_everywhere(step: Step, before: Path, folder: Path) -> dict[str, Any]:
    """Kill a step at each of its writes, from a folder as it is before; `folder` is left complete.

    Returns how many writes it has, the tables that differ by the write at which it was killed, and the rows
    that it leaves by table.
    """
    shutil.copytree(before, folder)
    assert alone(step, folder)
    whole, writes = dump(folder / "agents.db"), int((folder.parent / "writes").read_text())
    different: dict[int, list[str]] = {}
    for at in range(1, writes + 1):
        shutil.rmtree(folder)
        shutil.copytree(before, folder)
        assert not alone(step, folder, at), at
        assert alone(step, folder)
        rows = dump(folder / "agents.db")
        if found := [name for name in rows if rows[name] != whole[name]]:
            different[at] = found
    return {
        "writes": writes,
        "different": different,
        "rows": {name: len(each) for name, each in whole.items()},
    }


def explored(place: Path) -> dict[str, Any]:
    """Return what kills leave of a session."""
    history, empty = bars_of_few(), place / "empty"
    # To make the tables takes longer than the session.
    empty.mkdir()
    book_in(empty)

    def explore(folder: Path) -> None:
        made_in(folder, history, **SMALL)

    # Forks find in memory what this one has imported and worked out.
    explore(place / "warm")
    return killed_everywhere(explore, empty, place / "session")


def judged(place: Path) -> dict[str, Any]:
    """Return what kills leave of the gate and the registration of a technical session on real bars.

    Its validation is sealed, so that the gate counts a look.
    """
    plan, made = plan_of(TECHNICAL), place / "technical"
    made.mkdir()
    process.UNTIL = plan.train.end  # type: ignore[attr-defined]
    book = book_in(made)
    process.explored(book, plan)
    sealed = DateRange(start=plan.validation.start, end=plan.validation.end)
    book.ledger.enact(plan.family, plan.train, limits={}, holdout=sealed, now=NOON)
    gate.LEVEL = 1.0
    replayed = gate.replay(book, book.session(1), replays=19)

    def again(*_: Any, **__: Any) -> gate.NullReplay:
        return replayed

    # In memory, and the same each time: the forks need not make them again.
    gate.replay = again
    contenders.drawdown_band = once(contenders.drawdown_band)

    def judge_and_register(folder: Path) -> None:
        own: AgentBook = book_in(folder)
        judge(own, 1)
        if "registered" not in own.session(1).events:
            register_winner(own, 1)

    shutil.copytree(made, place / "warm judged")
    judge_and_register(place / "warm judged")
    return killed_everywhere(judge_and_register, made, place / "judged")


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what gives the first result of a function, whatever it is asked later."""
    known: list[Any] = []

    def first(*arguments: Any) -> Any:
        known[:] = known or [function(*arguments)]
        return known[0]

    return first


def main(place: Path) -> dict[str, Any]:
    """Return what kills leave, by what was killed."""
    return {"session": explored(place), "gate and registration": judged(place)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
