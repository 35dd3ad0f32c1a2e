"""How often the shadow period errs, looked at every day, and how long an alarm takes to a shadow period."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import signal, stats

from benchmarks.measure import ROOT, of_tests
from lockstep.monitoring.champion import BETTER_AT, ChallengerVerdict, PairedScore, compare, paired
from research.training.config import load_training

MARGIN = 0.02
# Stated rates, each exceeded by a procedure that keeps it in one run of a thousand.
BETTER_RATE, NOT_WORSE_RATE, _LEVEL = 1.0 / BETTER_AT, 0.025, 0.001
LEAST_POWER = 0.8
_COMPARED_DAILY = 5  # periods in which each day is looked at one by one, to check the shortcut


@dataclass(frozen=True, kw_only=True)
class ShadowWorld:
    """Two models that know the true chance of a signal up to a normal error.

    champion, challenger   deviations of the errors; alike: their correlation
    signals   of a shadow period; lag: autocorrelation of the chances, so that good days come in runs
    """

    champion: float
    challenger: float
    signals: int
    lag: float = 0.0
    alike: float = 0.0

    def scores(self, seed: int) -> list[PairedScore]:
        """Return the paired scores of one shadow period, by time."""
        draw = np.random.default_rng(seed)
        chained = signal.lfilter(
            [np.sqrt(1.0 - self.lag**2)], [1.0, -self.lag], draw.standard_normal(self.signals + 50)
        )
        chance = 0.575 + 0.175 * np.clip(chained[50:] / 2.0, -1.0, 1.0)
        won = draw.random(self.signals) < chance
        one, own = draw.standard_normal((2, self.signals))
        other = self.alike * one + np.sqrt(1.0 - self.alike**2) * own
        said = [
            np.clip(chance + deviation * error, 0.0, 1.0)
            for deviation, error in ((self.champion, one), (self.challenger, other))
        ]
        return [
            paired(day, float(one), float(other), won=bool(w))
            for day, (one, other, w) in enumerate(zip(*said, won, strict=True), start=1)
        ]


WORLDS = {
    "equal": ShadowWorld(champion=0.1, challenger=0.1, signals=120),
    "equal, 40 signals": ShadowWorld(champion=0.1, challenger=0.1, signals=40),
    "equal, 400 signals": ShadowWorld(champion=0.1, challenger=0.1, signals=400),
    "equal, good days in runs": ShadowWorld(champion=0.15, challenger=0.15, signals=120, lag=0.9),
    "equal, much alike": ShadowWorld(champion=0.1, challenger=0.1, signals=120, alike=0.95),
    "better by .06": ShadowWorld(champion=0.25, challenger=0.05, signals=120),
    "better by .08, 250 signals": ShadowWorld(champion=0.3, challenger=0.05, signals=250),
    "worse by a little more than the margin": ShadowWorld(champion=0.1, challenger=0.185, signals=120),
    "worse by a little more than the margin, 400 signals": ShadowWorld(
        champion=0.1, challenger=0.185, signals=400
    ),
    "worse by a little more than the margin, much alike": ShadowWorld(
        champion=0.2, challenger=0.27, signals=400, alike=0.95
    ),
    "worse by .05, 250 signals": ShadowWorld(champion=0.1, challenger=0.27, signals=250),
}
# Found by the end of the period, or called not worse: the world that a shadow period must recognise.
POWER = "better by .08, 250 signals"


@dataclass(frozen=True, kw_only=True)
class Period:
    """What was decided on the first day that decided anything, and whether `better` was ever said.

    day   signals by then; difference   mean of all of them, challenger minus champion
    """

    verdict: ChallengerVerdict
    day: int
    is_ever_better: bool
    difference: float


def first_decision(scores: Sequence[PairedScore]) -> tuple[ChallengerVerdict, int]:
    """Return the first verdict of somebody who looks after each signal, and after which one.

    What was reached stays reached, so that the first day is found by halving.
    """
    undecided, decided = 0, len(scores)
    if compare(scores, margin=MARGIN).verdict is ChallengerVerdict.UNDECIDED:
        return ChallengerVerdict.UNDECIDED, decided
    while decided - undecided > 1:
        middle = (undecided + decided) // 2
        if compare(scores[:middle], margin=MARGIN).verdict is ChallengerVerdict.UNDECIDED:
            undecided = middle
        else:
            decided = middle
    return compare(scores[:decided], margin=MARGIN).verdict, decided


def looked_at_daily(scores: Sequence[PairedScore]) -> tuple[ChallengerVerdict, int]:
    """Return the same, looked at day by day."""
    for day in range(1, len(scores) + 1):
        verdict = compare(scores[:day], margin=MARGIN).verdict
        if verdict is not ChallengerVerdict.UNDECIDED:
            return verdict, day
    return ChallengerVerdict.UNDECIDED, len(scores)


def period(world: ShadowWorld, seed: int) -> Period:
    """Return what one shadow period says."""
    scores = world.scores(seed)
    verdict, day = first_decision(scores)
    whole = compare(scores, margin=MARGIN)
    return Period(
        verdict=verdict, day=day, is_ever_better=whole.verdict is ChallengerVerdict.BETTER,
        difference=whole.mean,
    )  # fmt: skip


def _is_shortcut_right(world: ShadowWorld, seed: int) -> bool:
    scores = world.scores(seed)
    return first_decision(scores) == looked_at_daily(scores)


def comparisons(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Return the rates of each world over `count` shadow periods, and whether all are as stated."""
    better, not_worse = allowed(count)
    found: dict[str, Any] = {"margin": MARGIN, "most better": better, "most not worse": not_worse}
    good = True
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for number, (name, world) in enumerate(WORLDS.items()):
            seeds = range(
                seed * 10_000_000 + number * 1_000_000, seed * 10_000_000 + number * 1_000_000 + count
            )
            periods = list(pool.map(partial(period, world), seeds, chunksize=20))
            same = all(pool.map(partial(_is_shortcut_right, world), seeds[:_COMPARED_DAILY], chunksize=2))
            told = rates(periods)
            found[name] = {**told, "looked at one by one, the same": same}
            good &= same and is_as_stated(name, told, better, not_worse)
            print(f"{name}: {found[name]}", flush=True)
    return found, good


def rates(periods: Sequence[Period]) -> dict[str, Any]:
    """Return how often each verdict was the first one, `better` ever said, and how soon."""
    told = Counter(each.verdict for each in periods)
    days = [each.day for each in periods if each.verdict is not ChallengerVerdict.UNDECIDED]
    return {
        "mean difference": round(float(np.mean([each.difference for each in periods])), 5),
        **{str(each): told[each] / len(periods) for each in ChallengerVerdict},
        "better on any day": sum(each.is_ever_better for each in periods) / len(periods),
        "median signals to a verdict": float(np.median(days)) if days else None,
    }


def is_as_stated(name: str, found: dict[str, Any], better: float, not_worse: float) -> bool:
    """Return whether the rates of a world are within `allowed`, or its power is enough."""
    if name.startswith("equal"):
        return bool(found["better on any day"] <= better)
    if name.startswith("worse"):
        return bool(found["mean difference"] < -MARGIN and found["not worse"] <= not_worse)
    return name != POWER or bool(found["better on any day"] >= LEAST_POWER)


def allowed(count: int) -> tuple[float, float]:
    """Return the shares of `better` and `not worse` that procedures of the stated rates seldom exceed.

    In one run of `count` periods of a thousand, for equal models and for those that are worse by the margin.
    """
    better, not_worse = (
        float(stats.binom.ppf(1.0 - _LEVEL, count, rate)) / count for rate in (BETTER_RATE, NOT_WORSE_RATE)
    )
    return better, not_worse


def from_alarm_to_shadow() -> dict[str, Any]:
    """Return how many seconds each step took on COMP, by the rows of the book, by the real command.

    Features and search are those of `configs/training/COMP.yml`. The bars end in mid-2009, so that the outer
    windows are shorter and the rules enter more often; every model passes the limits. The champion is made in
    one step of the search, and its record asks for all of them.
    """
    support = of_tests("support.retraining")
    shipped = load_training(ROOT / "configs/training/COMP.yml")
    config = shipped.replaced(
        data={**shipped.data.model_dump(), "end": support.TRAINED_TO},
        hold_out={"start": "2009-01-02"},
        validation={**shipped.validation.model_dump(), "walk_forward": "4y/1y/1y"},
        acceptance=support.LENIENT,
        strategy=support.STRATEGY,
        # From even odds on, so that there is a veto to validate.
        threshold={**shipped.threshold.model_dump(), "low": 0.5},
    )
    with tempfile.TemporaryDirectory() as name:
        os.environ["LOCKSTEP_DB"] = f"sqlite:///{name}/ledger.db"
        desk = support.trained_desk(Path(name) / "desk", config, trials=1)
        desk.trade(220)
        words = [sys.executable, "scripts/retrain.py", "run", "--config", str(desk.retraining)]
        subprocess.run(words, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
        (run,) = desk.runs()
        trained = desk.store.manifest().entry("COMP", run.output("version"))
    began, seconds = run.steps[0], {}
    for before, after in pairwise(run.steps):
        seconds[str(after.step)] = round((after.time - before.time) / 1e9, 1)
    return {
        "trigger": began.inputs["kind"],
        "search steps": config.search.trials,
        "features": len(trained.feature_ids),
        "ends in": str(run.now),
        "seconds": seconds,
        "seconds from the alarm's row to the shadow period": round(
            (run.steps[-1].time - began.time) / 1e9, 1
        ),
        "cores": os.cpu_count(),
    }


def retraining(count: int, seed: int) -> tuple[dict[str, Any], bool]:
    """Take `count` retrainings, with a whole search each, from an alarm to their shadow periods."""
    taken = []
    for _ in range(count):
        taken.append(from_alarm_to_shadow())
        print(taken[-1], flush=True)
    return {"from alarm to shadow": taken}, all(each["ends in"] == "SHADOWING" for each in taken)
