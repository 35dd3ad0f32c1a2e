"""Worlds in which a veto has nothing to know, and one in which it has: bars, trainings and verdicts.

Every world draws bars of its own, daily, on the dates of 4,000 sessions from 1999 on. The strategy buys a
weak close, and weak closes are followed by gains: without a veto it has an annual Sharpe ratio of about 1.
What differs is what a model could know:

labels    volume and range say how far the next day moves, so how likely a win is, but nothing of the mean;
          the model is trained on labels that were permuted. Trades last up to five days
noise     a strong edge, about 1.2, and features that have nothing to do with what follows. Trades last up to
          five days
planted   a true edge for a veto: volume, range, the close before and the return of five days say what the
          next day brings, each as much as the others. One deviation of what they say together is worth
          0.6 % of the price, where the day's noise is 0.8 % and a weak close earns 0.1 % on average. Trades
          last a day; some 750 of them are out of sample, in ten years. The gain then has an annual Sharpe
          ratio of about 1.7

Each is trained as `lockstep train` trains, by a nested search that is small: two steps in each of five outer
windows and three for the final model, forests of 10 to 20 trees; and judged by every check, with one training
counted and a hold-out that nobody has looked at.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from lockstep.market.bars import Stamps
from lockstep.market.history import History
from lockstep.market.loader import load_bars
from lockstep.market.timeframe import DAILY
from lockstep.metrics import Floats
from lockstep.settings import validated
from research.ledger.ledger import Ledger
from research.model_validation.case import ModelCase
from research.model_validation.checks import CHECKS, asked_of
from research.training.bundling import make_bundle
from research.training.config import TrainingConfig
from research.training.dataset import build_dataset
from research.training.out_of_sample import OpenedHoldOut, open_hold_out
from research.training.outcome import TrainingOutcome
from research.training.train import train
from support.training import NOON
from support.validation_models import SYMBOL, drawn_history

World = Literal["labels", "noise", "planted"]
WORLDS: tuple[World, ...] = get_args(World)
BARS = 4_000
BASE = 0.004
PLANTED = 0.006
_BASE_PLANTED = 0.001
_NOISE = 0.008
# Standard deviation of a number that is uniform over (0, 1): each of the four parts varies so.
_UNIFORM = 12**-0.5

_A_DAY = {"exit": [0.0, 1.0]}
_SOME_DAYS = {"exit": [0.6, 1.0], "max_bars": 5}
CONTENT: dict[str, Any] = {
    "symbol": SYMBOL,
    "strategy": {"name": "weak close", "entry": [0.0, 0.35]},
    "features": {"ids": ["volume_pctile_20", "range_atr_14", "ibs_prev", "ret_5", "vol_ratio_5_50"]},
    "model": {
        "family": "random_forest",
        "space": {
            "n_estimators": {"integer": [10, 20]},
            "max_depth": {"integer": [3, 6]},
            "min_samples_leaf": {"integer": [20, 60], "log": True},
            "max_samples": {"real": [0.6, 0.9]},
        },
    },
    "search": {"trials": 3, "window_trials": 2, "initial": 3},
    "validation": {
        "groups": 4,
        "test_groups": 1,
        "embargo_days": 3,
        "walk_forward": "2y/2y/2y",
        "anchored": True,
    },
    "hold_out": {"share": 0.12},
    "threshold": {"low": 0.4, "high": 0.7, "step": 0.02, "criterion": "sharpe", "keep": 0.3},
}


@functools.cache
def _stamps() -> Stamps:
    """Return the ends of twenty years of daily bars: more than there are of the symbol itself."""
    return load_bars("COMP", timeframe=DAILY).end


def world_bars(world: World, seed: int) -> History:
    """Return the bars of a world."""
    end = _stamps()[:BARS]
    draw = np.random.default_rng([WORLDS.index(world), seed])
    volume, span, place = (draw.uniform(size=BARS) for _ in range(3))
    weak = place < 0.35
    known = weak * BASE
    spread = np.full(BARS, _NOISE)
    if world == "labels":
        spread = _NOISE * (0.4 + 1.2 * span)
    chance = draw.normal(size=BARS) * spread
    if world == "planted":
        before = np.concatenate(([0.5], place[:-1]))
        move = _planted(weak, volume + span + before - 1.5, chance)
    else:
        move = np.concatenate(([0.0], (known + chance)[:-1]))
    return drawn_history(end, move, volume=volume, span=span, place=place)


def _planted(weak: Floats, known: Floats, chance: Floats) -> Floats:
    """Return the moves of a planted world: a fourth part of what is known lies in the moves of five days."""
    move = np.zeros(BARS)
    for day in range(BARS - 1):
        fallen = -move[max(0, day - 4) : day + 1].sum() / (_NOISE * 5**0.5)
        said = known[day] + np.clip(fallen, -2.0, 2.0) * _UNIFORM
        move[day + 1] = weak[day] * (_BASE_PLANTED + PLANTED * said / (_UNIFORM * 2.0)) + chance[day]
    return move


def trained(world: World, seed: int) -> tuple[History, TrainingOutcome]:
    """Return the bars of a world and what a training on them found."""
    strategy = {**CONTENT["strategy"], **(_A_DAY if world == "planted" else _SOME_DAYS)}
    config = validated(TrainingConfig, {**CONTENT, "strategy": strategy}, where="world")
    history = world_bars(world, seed)
    dataset = build_dataset(config, history)
    if world != "labels":
        return history, train(config, dataset, seed=seed)
    lots = np.random.default_rng(seed).permutation(len(dataset))
    outcome = train(config, replace(dataset, target=dataset.target[lots]), seed=seed)
    # Whoever judges it knows what the trades really earned.
    return history, replace(outcome, dataset=dataset)


def case_of(world: World, seed: int, ledger: Ledger) -> ModelCase:
    """Return a model of a world as validation gathers it; its hold-out is opened once, in `ledger`."""
    history, outcome = trained(world, seed)
    opened: list[OpenedHoldOut] = []

    def hold_out(may_open: bool) -> OpenedHoldOut | None:
        if may_open and not opened:
            # A family of its own: nobody has looked before.
            name = f"{world} {seed}"
            opened.append(open_hold_out(outcome, history, ledger, family=name, version=name, now=NOON))
        return opened[0] if opened else None

    bundle = replace(make_bundle(outcome, history), version="v1")
    return ModelCase(bundle=bundle, outcome=outcome, history=history, trials=1, hold_out=hold_out)


# What asks least comes first: most models without skill are refused by the first of these.
_CHEAP = ("share vetoed", "random veto", "ROC area", "Brier skill", "gain")


def passes(case: ModelCase) -> bool:
    """Return whether a model passes every check; the first refusal ends it."""
    rest = [each for each in asked_of(ModelCase) if each.name not in _CHEAP]
    return all(each(case).passed for each in (*map(CHECKS.__getitem__, _CHEAP), *rest))


@dataclass
class Tally:
    """Verdicts of `count` models of one world: how many passed all checks, and each check by itself."""

    count: int = 0
    passed: int = 0
    alone: Counter[str] = field(default_factory=Counter)
    gains: list[float] = field(default_factory=list)

    def add(self, case: ModelCase) -> None:
        found = [each(case) for each in asked_of(ModelCase)]
        self.count += 1
        self.passed += all(each.passed for each in found)
        self.alone.update({each.name: int(each.passed) for each in found})
        self.gains.append(float(np.nan_to_num(case.gain.sharpe)))

    @property
    def summary(self) -> dict[str, Any]:
        """The rates, and quartiles of the Sharpe ratio of the gain."""
        return {
            "models": self.count,
            "passed all": self.passed,
            "passed alone": dict(self.alone),
            "Sharpe ratio of the gain, quartiles": np.quantile(self.gains, [0.25, 0.5, 0.75])
            .round(2)
            .tolist(),
        }
