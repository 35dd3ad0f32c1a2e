"""Sessions of research agents on real bars: the gate of a technical one, kills in one that trains models."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, of_tests
from lockstep.identity import cache_root
from lockstep.market.reach import BARS_UNTIL
from research.agents.database import FROZEN, AgentBook
from research.agents.engine import ResearchEngine
from research.agents.gate import judge
from research.agents.plan import AgentSettings, SessionPlan, plan_of
from research.statistics.null_replay import require_replays

SYMBOL, STRATEGIES = "COMP", 100
_FEW = 12
# Seconds within which a process is killed after one of its lines: a strategy takes about as long.
_WITHIN = 1.0


def gate_on_comp(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Make a session of 100 technical strategies on COMP, and judge it by `count` replays.

    It is as it should be where the session, run again, is the one on record; what the gate says is told.
    """
    require_replays(count)
    settings = AgentSettings(symbol=SYMBOL, strategies=STRATEGIES, kinds={"technical": 10}, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        book = AgentBook.open(f"sqlite:///{folder}/agents.db")
        engine, began = ResearchEngine(settings=settings, book=book), time.perf_counter()
        record = engine.run_exploration_session()
        made, cpu = time.perf_counter(), time.process_time()
        found = judge(book, record.id, replays=count)
        spent = {
            "seconds of the session": round(made - began, 1),
            "seconds of the gate": round(time.perf_counter() - made, 1),
            "processor seconds of the gate": round(time.process_time() - cpu, 1),
        }
    told = found.plain
    names = ("verdict", "winner", "objective", "p_value", "replays", "median", "best", "validation")
    result = {"training": str(record.plan.train), **{name: told[name] for name in names}, **spent}
    return result, found.replays == count


def kills_with_models(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Kill `count` sessions that train models, complete them, and compare them with one nobody killed."""
    settings = AgentSettings(
        symbol=SYMBOL, strategies=_FEW, kinds=dict.fromkeys(("technical", "hybrid", "ml"), 3), seed=seed,
        researcher="random",
    )  # fmt: skip
    plan, drawn, different = plan_of(settings), random.Random(seed), Counter[str]()
    versions = cache_root() / "agents" / plan.key[:16]
    with tempfile.TemporaryDirectory() as place:
        # One folder for all: a model that was built is known by the folder of its store.
        folder = Path(place) / "session"
        whole = _left(plan, folder, versions)
        killed = []
        for _ in range(count):
            at = drawn.randrange(_FEW + 2), drawn.uniform(0.0, _WITHIN)
            left = _left(plan, folder, versions, at)
            killed.append(left.pop("lines before it died")[0])
            for name in whole.keys() - {"lines before it died"}:
                different[name] += left[name] != whole[name]
    kills = sum(each is not None for each in killed)
    found = {
        "strategies": _FEW,
        "models trained": len(whole["model_build"]),
        "kills": kills,
        "lines before they died": killed,
        "different tables": {name: times for name, times in sorted(different.items()) if times},
    }
    return found, not found["different tables"] and kills >= 0.8 * count


def _left(
    plan: SessionPlan, folder: Path, versions: Path, kill: tuple[int, float] | None = None
) -> dict[str, Any]:
    """Make a session in a folder, killed once and completed where asked; returns the rows that it leaves."""
    for each in (versions, folder):
        shutil.rmtree(each, ignore_errors=True)
    folder.mkdir()
    environment = {
        **os.environ,
        BARS_UNTIL: plan.train.end.isoformat(),
        "LOCKSTEP_DB": f"sqlite:///{folder}/agents.db",
        "LOCKSTEP_MODEL_STORE": str(folder / "store"),
        "PYTHONPATH": str(ROOT),
    }
    died = None if kill is None else _ran(plan, environment, *kill)
    if kill is None or died is not None:
        assert _ran(plan, environment) is None
    book = AgentBook.open(environment["LOCKSTEP_DB"])
    assert FROZEN in book.session(1).events
    return {"lines before it died": [died], **of_tests("support.nights").dump(folder / "agents.db")}


def _ran(
    plan: SessionPlan, environment: dict[str, str], lines: int | None = None, after: float = 0.0
) -> int | None:
    """Run the process of a session, or kill it some time after a line; returns after which one it died."""
    command = [sys.executable, "-m", "research.agents.process"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, cwd=ROOT, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(plan.model_dump_json())
        process.stdin.close()
        heard = 0
        for line in process.stdout:
            json.loads(line)
            heard += 1
            if lines is not None and heard > lines:
                time.sleep(after)
                process.kill()
                break
        process.stdout.read()
        process.wait()
    if process.returncode == -signal.SIGKILL:
        return heard
    if process.returncode:
        raise RuntimeError(f"the process of a session ended with {process.returncode}")
    return None
